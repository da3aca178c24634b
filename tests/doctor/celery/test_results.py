"""What the doctor says of results: by evidence, by results in a real Redis, and in a table."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from celery import states
from django.conf import settings

from redis_optimizer.doctor import Severity, examine
from redis_optimizer.doctor.celery import results
from redis_optimizer.doctor.celery.evidence import Kept
from redis_optimizer.doctor.celery.watch import MOST_KEPT, Watch
from redis_optimizer.embedded import HOST
from tests.doctor.celery.sites import add_task, find, make_app, make_server, see
from tests.tasks.conftest import make_site
from tests.tasks.processes import Site

__all__ = ["make_site"]

PLAIN = "redis://h:1/1"
OURS = f"redis_optimizer.tasks.results:RedisBackend+{PLAIN}"
UNREAD = Kept(seen=30, old=25, unread=25)
DAY = 86_400


def test_that_jobs_have_begun_is_found_by_the_settings() -> None:
    app = make_app(result_backend=PLAIN, task_track_started=True)
    (finding,) = find(see(app, make_server({"setex": 6.0, "publish": 9.0})), "track-started")
    assert finding.saves == 6 / 2 * 5 * DAY
    assert "CELERY_TASK_TRACK_STARTED" in finding.what
    (finding,) = find(see(app), "track-started")
    assert finding.saves is None


def test_that_jobs_have_begun_is_found_by_a_task() -> None:
    app = make_app(result_backend=PLAIN)
    add_task(app, "t.quiet", track_started=True, ignore_result=True)
    assert find(see(app), "track-started") == []
    add_task(app, "t.loud", track_started=True)
    (finding,) = find(see(app), "track-started")
    assert "t.loud" in finding.what


@pytest.mark.parametrize(
    "conf",
    [
        {"result_backend": PLAIN},
        {"result_backend": PLAIN, "task_track_started": True, "task_ignore_result": True},
        {"result_backend": OURS, "task_track_started": True},
        {"task_track_started": True},
    ],
)
def test_that_jobs_have_begun_is_not_found_where_it_costs_nothing(conf: dict[str, Any]) -> None:
    assert find(see(make_app(**conf)), "track-started") == []


def unread(kept: Kept | None, backend: str = PLAIN, **rates: float) -> Any:
    return see(make_app(result_backend=backend), make_server(rates), kept=kept)


def test_results_that_nobody_reads_are_found() -> None:
    (finding,) = find(unread(UNREAD, setex=2.0, publish=2.0, get=2.0), "unread-results")
    assert finding.saves == 2 * 7 * DAY
    assert "25 results" in finding.what
    assert find(unread(UNREAD, setex=2.0, publish=2.0, get=2.0), "plain-results") == []
    (finding,) = find(unread(UNREAD), "unread-results")
    assert finding.saves is None


def test_what_a_cache_stores_is_no_result() -> None:
    app = make_app(result_backend=PLAIN, result_expires=None)
    server = make_server({"set": 100.0, "publish": 2.0})
    (finding,) = find(see(app, server), "plain-results")
    assert finding.saves == 2 * 6 * DAY


@pytest.mark.parametrize(
    ("kept", "gets"),
    [
        (Kept(seen=30, old=25, unread=24), 2.0),
        (Kept(seen=19, old=19, unread=19), 2.0),  # too few
        (UNREAD, 4.0),  # somebody waits in get(), or a cache is on the server
        (None, 2.0),
    ],
)
def test_results_that_somebody_may_read_are_not(kept: Kept | None, gets: float) -> None:
    evidence = unread(kept, setex=2.0, publish=2.0, get=gets)
    assert find(evidence, "unread-results") == []
    (finding,) = find(evidence, "plain-results")
    assert finding.severity is Severity.INFO
    assert finding.saves == 2 * 6 * DAY


def test_our_backend_needs_no_word() -> None:
    evidence = unread(UNREAD, OURS, setex=2.0, publish=2.0)
    assert examine(evidence, through=results.EXAMINATIONS).findings == ()


@pytest.mark.parametrize("backend", [PLAIN, "django-db"])
@pytest.mark.parametrize("expires", [None, 0])
def test_results_that_never_expire_are_found(backend: str, expires: Any) -> None:
    app = make_app(result_backend=backend, result_expires=expires)
    (finding,) = find(see(app), "endless-results")
    assert f"CELERY_RESULT_EXPIRES is {expires}" in finding.what
    assert find(see(make_app(result_backend=backend)), "endless-results") == []
    assert find(see(make_app(result_expires=expires)), "endless-results") == []


def test_results_that_an_earlier_deployment_left_for_ever_are_found() -> None:
    (finding,) = find(unread(Kept(seen=9, endless=4)), "endless-results")
    assert "4 of 9" in finding.what
    assert finding.severity is Severity.INFO


class Store:
    """Results in a real Redis, some of them older than they are."""

    def __init__(self, admin: redis.Redis) -> None:
        # A database of its own, as many sites have it.
        self.client = redis.Redis(HOST, admin.get_connection_kwargs()["port"], db=1)
        self.app = make_app(result_backend=settings.REDIS_TEST_URL.replace("/0", "/1"))
        self.unknown: list[str] = []

    def add(self, job: str, age: int = 0, idle: int | None = None) -> str:
        """Store a result as if it had been there for `age` seconds, unread for `idle` of them."""
        backend: Any = self.app.backend
        backend.store_result(job, None, states.SUCCESS)
        key: str = backend.get_key_for_task(job).decode()
        left = (int(backend.expires) - age) * 1000
        value = backend.client.dump(key)
        unused = age if idle is None else idle
        backend.client.restore(key, left, value, replace=True, idletime=unused)
        return key

    def look(self) -> Kept:
        watch = Watch(self.app, self.unknown)
        kept = watch.kept()
        assert not self.unknown, self.unknown
        assert kept is not None
        return kept


@pytest.fixture
def store(admin: redis.Redis) -> Iterator[Store]:
    store = Store(admin)
    yield store
    store.client.close()


def test_a_result_that_was_read_is_told_from_one_that_was_not(store: Store) -> None:
    store.add("new")
    store.add("unread", age=500)
    store.add("read", age=500, idle=100)
    again = store.add("read-now", age=500)
    assert store.look() == Kept(seen=4, old=3, unread=2)
    store.client.get(again)
    assert store.look() == Kept(seen=4, old=3, unread=1)
    # To look is not to read.
    assert store.look() == Kept(seen=4, old=3, unread=1)


def test_a_result_without_a_lifetime_is_counted(store: Store) -> None:
    store.client.persist(store.add("kept"))
    assert store.look() == Kept(seen=1, endless=1)


def test_no_more_results_are_looked_at_than_are_needed(store: Store) -> None:
    with store.client.pipeline() as pipeline:
        for number in range(3_000):
            pipeline.set(f"celery-task-meta-{number}", "", ex=DAY - 100)
            pipeline.set(f"other-{number}", "")
        pipeline.execute()
    watch = Watch(store.app, store.unknown)
    kept = watch.kept()
    assert kept is not None
    assert kept.seen == MOST_KEPT
    assert watch.commands <= 10 + 2 * MOST_KEPT


def test_a_server_that_does_not_tell_is_said(store: Store) -> None:
    store.add("old", age=500)
    store.client.config_set("maxmemory-policy", "allkeys-lfu")
    try:
        assert Watch(store.app, store.unknown).kept() is None
    finally:
        store.client.config_set("maxmemory-policy", "noeviction")
    assert "LFU" in store.unknown[0]


@pytest.mark.parametrize("backend", [None, "django-db"])
def test_results_elsewhere_are_not_looked_at(backend: str | None) -> None:
    app = make_app(result_backend=backend)
    assert Watch(app, []).kept() is None


ROWS = """
from datetime import timedelta
from django.db import connection
from django.utils.timezone import now
from django_celery_results.models import TaskResult
from redis_optimizer.doctor import Evidence, examine

with connection.schema_editor() as editor:
    editor.create_model(TaskResult)

def add(number, days):
    rows = [TaskResult(task_id=f"{days}-{n}") for n in range(number)]
    TaskResult.objects.bulk_create(rows)
    TaskResult.objects.filter(task_id__startswith=f"{days}-").update(
        date_done=now() - timedelta(days=days))

def find():
    report = examine(Evidence(app=app), only=["uncleaned-results"])
    assert not report.unknown, report.unknown
    return [finding.what for finding in report.findings]
"""


def test_results_in_the_database_that_nobody_deletes_are_found(
    make_site: Callable[..., Site],
) -> None:
    site = make_site(settings={"CELERY_RESULT_BACKEND": "django-db"})
    code = ROWS + "add(3, 2); print(find()); add(2, 4); print(find())"
    none, some = site.produce(code).stdout.splitlines()
    assert none == "[]"  # beat comes once a day
    assert some == "['2 results in the database should have been deleted days ago.']"


def test_ours_in_the_database_needs_nobody_to_delete() -> None:
    app = make_app(result_backend="redis_optimizer.tasks.results:DatabaseBackend")
    assert find(see(app), "uncleaned-results") == []
