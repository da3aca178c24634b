"""``manage.py redis_optimizer_prune``."""

import io
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from shutil import copyfile
from typing import Any

import pytest
import redis
from celery import Celery, states
from celery.backends.redis import RedisBackend as CeleryRedisBackend
from django.conf import settings

from redis_optimizer.management.commands.redis_optimizer_prune import Progress
from redis_optimizer.tasks.prune import Report
from redis_optimizer.tasks.prune_redis import prune_redis
from tests.tasks.processes import Site
from tests.tasks.results import KEPT, SERIALIZERS, TASK, context, database, lasting, make_app

__all__ = ["database"]


class Old:
    """A site on Celery's own backend, whose results have been there for a while."""

    def __init__(self, **configuration: Any) -> None:
        self.app: Celery = make_app(
            result_backend=settings.REDIS_TEST_URL, result_extended=True, **configuration
        )
        self.backend = self.app.backend
        assert type(self.backend) is CeleryRedisBackend

    def store(self, job: str, state: str = states.SUCCESS, *, age: float, **about: Any) -> None:
        result = KeyError() if state in states.EXCEPTION_STATES else None
        self.backend.store_result(job, result, state, request=context(job, **about))
        key = self.backend.get_key_for_task(job)
        meta = self.backend.decode(self.backend.client.get(key))
        if meta["date_done"]:
            meta["date_done"] = (datetime.now(UTC) - timedelta(seconds=age)).isoformat()
        self.backend.client.set(key, self.backend.encode(meta), ex=5000)

    def prune(self, **options: Any) -> Report:
        return prune_redis(self.backend, **options)


@pytest.fixture
def old() -> Old:
    return Old()


@pytest.mark.parametrize("serializer", SERIALIZERS)
@pytest.mark.parametrize("batch_size", [1, 7, 500])
def test_the_last_of_each_task_stay_and_the_others_have_a_minute(
    serializer: str, batch_size: int, admin: redis.Redis
) -> None:
    old = Old(result_serializer=serializer)
    for number in range(12):
        old.store(f"s{number}", age=1000 - number)
        old.store(f"f{number}", states.REVOKED if number % 2 else states.FAILURE, age=900 - number)
        old.store(f"o{number}", age=1000, task="other" if number % 2 else "another")
    report = old.prune(batch_size=batch_size)
    assert {job for job in lasting(admin) if job[0] != "o"} == {
        *("s7", "s8", "s9", "s10", "s11"),
        *("f9", "f10", "f11"),
    }
    assert len(lasting(admin)) == 8 + 10
    assert admin.dbsize() == 36  # nothing is deleted
    assert report.seen == 36
    tally = report.tasks[TASK][states.SUCCESS]
    assert (tally.kept, tally.dropped) == (5, 7)
    assert report.dropped == 7 + 9 + 2
    again = old.prune()
    assert again.dropped == 0
    assert again.left == {"going already": 18}


def test_a_dry_run_says_the_same_and_does_nothing(old: Old, admin: redis.Redis) -> None:
    for number in range(12):
        old.store(f"s{number}", age=1000 - number)
    dry = old.prune(dry_run=True)
    assert len(lasting(admin)) == 12
    assert old.prune() == dry
    assert len(lasting(admin)) == 5


def test_groups_chords_and_what_is_not_over_stay(old: Old, admin: redis.Redis) -> None:
    for number in range(9):
        old.store(f"g{number}", age=1000, group="g")
        old.store(f"t{number}", states.STARTED, age=1000)
        old.store(f"r{number}", states.RETRY, age=1000)
        old.store(f"y{number}", age=30)
    report = old.prune()
    assert len(lasting(admin)) == 36
    assert report.dropped == 0
    assert report.left == {
        "of a group or chord": 9,
        "not finished": 18,
        "finished lately": 4,
    }


def test_other_keys_are_not_touched(old: Old, admin: redis.Redis) -> None:
    others = {"celery-taskset-meta-g": "x", "celery": "x", "xcelery-task-meta-1": "x"}
    broken = {"celery-task-meta-a": "{", "celery-task-meta-b": "", "celery-task-meta-c": "[]"}
    admin.mset(others | broken)
    admin.rpush("celery-task-meta-list", 1)
    report = old.prune()
    assert report.left == {"unreadable": 4}
    assert all(admin.ttl(key) == -1 for key in admin.scan_iter())
    assert admin.dbsize() == 7


def test_a_prefix_is_no_pattern(admin: redis.Redis) -> None:
    options = {"global_keyprefix": "a[b]*"}
    old = Old(result_backend_transport_options=options)
    for number in range(7):
        old.store(f"s{number}", age=1000 - number)
    admin.set("ab_celery-task-meta-1", "x")
    report = old.prune()
    assert (report.seen, report.dropped) == (7, 2)
    lean = make_app(result_backend_transport_options=options)
    lean.backend.store_result("new", 1, states.SUCCESS, request=context("new"))
    report = prune_redis(lean.backend)
    assert report.tasks["demo"][states.SUCCESS].kept == 5
    assert not any("unknown" in reason for reason in report.left)


def test_results_of_nobody_go_by_age(admin: redis.Redis) -> None:
    old = Old()
    old.app.conf.result_extended = False
    day = 24 * 3600
    old.store("old", age=day + 10)
    old.store("older", states.FAILURE, age=3 * day)
    old.store("young", age=day - 100)
    report = old.prune()
    assert lasting(admin) == {"young"}
    assert report.left == {"of an unknown task, not a day old": 1}


def test_results_that_our_backend_keeps_are_counted_with_them(admin: redis.Redis) -> None:
    old, lean = Old(), make_app()
    for number in range(5):
        old.store(f"old{number}", age=5000 - number)
    for number in range(3):
        lean.backend.store_result(f"new{number}", 1, states.SUCCESS, request=context("new"))
    assert admin.llen(KEPT) == 3
    prune_redis(lean.backend)
    assert lasting(admin) == {"new0", "new1", "new2", "old3", "old4"}


def test_one_task_alone(old: Old, admin: redis.Redis) -> None:
    for number in range(7):
        old.store(f"s{number}", age=1000 - number)
        old.store(f"o{number}", age=1000 - number, task="other")
    report = old.prune(task="other")
    assert len(lasting(admin)) == 7 + 5
    assert report.left == {"of another task": 7}


def test_the_task_says_how_many(old: Old, admin: redis.Redis) -> None:
    old.app.tasks[TASK].keep_succeeded = 0
    for number in range(9):
        old.store(f"s{number}", age=1000 - number)
    report = old.prune()
    assert len(lasting(admin)) == 9
    assert report.tasks[TASK][states.SUCCESS].kept == 9


def test_it_can_be_stopped_where_nothing_is_found(old: Old, admin: redis.Redis) -> None:
    admin.mset({f"other:{number}": 1 for number in range(2000)})
    steps: list[int] = []
    old.prune(batch_size=100, progress=lambda report: steps.append(report.seen))
    assert len(steps) > 10
    assert set(steps) == {0}


def test_progress_is_shown_each_second() -> None:
    clock = iter([0, 0.5, 1.2, 1.2, 1.9, 2.5, 2.5]).__next__
    stream = io.StringIO()
    progress = Progress(stream, clock)
    for seen in range(4):
        progress(Report("here", seen=seen * 1000))
    assert stream.getvalue() == "here: 1,000 seen, 0 to gohere: 3,000 seen, 0 to go"


# The command, in a site


@pytest.fixture
def site(make_site: Callable[..., Site], database: Path) -> Site:
    site = make_site(tasks=["tests.tasks.site.results"])
    site.settings["CELERY_RESULT_BACKEND"] = f"redis://127.0.0.1:{site.port}/0"
    copyfile(database, site.database)
    return site


def prune(site: Site, *arguments: str, before: str = "", **options: Any) -> Any:
    command = f"""
{before}
from django.core.management import execute_from_command_line
execute_from_command_line(["manage.py", "redis_optimizer_prune", *{arguments!r}])
"""
    return site.produce(command, **options)


ROWS = """
from datetime import timedelta
from django.utils import timezone
from django_celery_results.models import TaskResult, ChordCounter, GroupResult
from celery.app.task import Context
from django_celery_results.backends import DatabaseBackend
stock = DatabaseBackend(app=app)

def row(job, seconds, state="SUCCESS", task="tests.tasks.site.results.add", **about):
    TaskResult.objects.create(task_id=job, task_name=task, status=state, meta=about.get("meta"))
    done = timezone.now() - timedelta(seconds=seconds)
    TaskResult.objects.filter(task_id=job).update(date_done=done)

for n in range(8):
    row(f"s{n}", 8000 - n); row(f"f{n}", 8000 - n, "FAILURE"); row(f"p{n}", 9000, "STARTED")
    row(f"w{n}", 7000 - n, task="tests.tasks.site.results.few")
    row(f"m{n}", 600 - n, task="marked", meta='{"redis_optimizer": true}')
    row(f"u{n}", 600 - n, task="unmarked")
    row(f"g{n}", 9000, meta='{"group_id": "g"}'); row(f"v{n}", 9000); row(f"c{n}", 9000)
    row(f"n{n}", 90000, task=None); row(f"y{n}", 3000, task=None)
group = app.GroupResult("saved", [app.AsyncResult(f"v{n}") for n in range(8)])
stock.save_group("saved", group)
header = app.GroupResult("chord", [app.AsyncResult(f"c{n}") for n in range(8)])
stock.apply_chord((header.id, header.results), {})
"""
LEFT = "sorted(TaskResult.objects.values_list('task_id', flat=True))"


def test_rows_are_deleted(site: Site) -> None:
    arguments = ("--json", "--batch-size", "10")
    dry = prune(site, *arguments, "--dry-run", before=ROWS)
    done = prune(site, *arguments)
    assert dry.stdout == done.stdout.replace('"dropped"', '"would_drop"').replace(
        '"dry_run": false', '"dry_run": true'
    )
    in_redis, report = json.loads(done.stdout)
    assert in_redis["seen"] == 0
    assert report["place"] == "the database 'default'"
    assert (report["seen"], report["dropped"]) == (11 * 8, 3 + 5 + 6 + 3 + 8)
    assert report["tasks"]["tests.tasks.site.results.few"]["SUCCESS"] == {"kept": 2, "dropped": 6}
    assert report["left"] == {
        "not finished": 8,
        "of a group or chord": 24,
        "finished lately": 3,
        "of an unknown task, not a day old": 8,
    }
    left = site.produce(
        f"from django_celery_results.models import TaskResult\nprint({LEFT})"
    ).stdout
    for job in ("s3", "f5", "w6", "m3", "p0", "g0", "v0", "c0", "u0", "y0"):
        assert f"'{job}'" in left
    for job in ("s2", "f4", "w5", "m2", "n0"):
        assert f"'{job}'" not in left


def test_times_may_have_no_zone(site: Site) -> None:
    """They are those of the site then, as USE_TZ = False has it."""
    naive = {"USE_TZ": False, "TIME_ZONE": "Asia/Tokyo"}
    said = prune(site, before=ROWS, **naive).stdout
    assert "Results at the database 'default': 88 seen, 25 go" in said
    assert "left alone, finished lately: 3" in said


def test_what_was_done_before_it_is_stopped_stays_done(site: Site) -> None:
    said = site.produce(
        ROWS
        + """
from redis_optimizer.tasks.prune_database import prune_database
told = []
def progress(report):
    told.append((report.seen, report.dropped))
    if report.seen >= 40:
        raise InterruptedError
try:
    prune_database(app, batch_size=10, progress=progress)
except InterruptedError:
    print(told[0], told[-1][1] > 0, told[-1][1] == 88 - TaskResult.objects.count())
"""
    ).stdout
    assert said == "(0, 0) True True\n"  # it is told of before the first row, too


def test_each_row_is_seen_once_though_all_are_of_one_moment(site: Site) -> None:
    once = ROWS + "TaskResult.objects.update(date_done=timezone.now() - timedelta(days=2))"
    said = prune(site, "--batch-size", "7", before=once).stdout
    assert "Results at the database 'default': 88 seen" in said


def test_the_report_says_what_is_done(site: Site) -> None:
    said = prune(site, "--dry-run", before=ROWS).stdout
    assert "Results at redis://127.0.0.1" in said
    assert "Results at the database 'default': 88 seen, 25 would go" in said
    assert "tests.tasks.site.results.few, succeeded: 2 kept, 6 would go" in said
    assert "left alone, of a group or chord: 24" in said


@pytest.mark.parametrize(
    ("settings", "arguments", "message"),
    [
        ({"CELERY_RESULT_BACKEND": None}, (), "The site has no result backend."),
        ({"CELERY_RESULT_BACKEND": "cache+memory://"}, (), "CacheBackend cannot be trimmed"),
        ({"CELERY_RESULT_BACKEND": "redis://127.0.0.1:1/0"}, (), "redis://127.0.0.1:1/0 cannot be"),
        ({}, ("--batch-size", "0"), "must be a whole number of at least 1, not '0'"),
        ({}, ("--batch-size", "x"), "must be a whole number of at least 1, not 'x'"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line(
    settings: dict[str, Any], arguments: tuple[str, ...], message: str, make_site: Any
) -> None:
    site = make_site(tasks=["tests.tasks.site.results"])  # without tables
    default = {"CELERY_RESULT_BACKEND": f"redis://127.0.0.1:{site.port}/0"}
    done = prune(site, *arguments, check=False, **(default | settings))
    assert done.returncode != 0
    assert message in done.stderr
    assert "Traceback" not in done.stderr
