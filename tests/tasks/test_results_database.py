"""The backend that keeps the last results of each task in the database."""

import json
from collections.abc import Callable
from pathlib import Path
from shutil import copyfile
from typing import Any

import pytest

from tests.servers import wait_until
from tests.tasks.processes import Site
from tests.tasks.results import database

BACKEND = "redis_optimizer.tasks.results:DatabaseBackend"
TASKS = "tests.tasks.site.results"

__all__ = ["database"]

HEAD = """
import json, time
from celery import states
from celery.app.task import Context
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django_celery_results.models import ChordCounter, GroupResult, TaskResult
from redis_optimizer.tasks.results import retention, rows

backend = app.backend

def store(job, state=states.SUCCESS, task="tests.tasks.site.results.add", result=None, **about):
    request = Context({"id": job, "task": task, **about})
    backend.store_result(job, result, state, request=request)

def stored():
    return sorted(TaskResult.objects.values_list("task_id", flat=True))

def show(**found):
    print(json.dumps(found))
"""


@pytest.fixture
def site(make_site: Callable[..., Site], database: Path) -> Site:
    site = make_site(tasks=[TASKS], settings={"CELERY_RESULT_BACKEND": BACKEND})
    copyfile(database, site.database)
    return site


def run(site: Site, code: str, **options: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(site.produce(HEAD + code, **options).stdout)
    return found


AGE = """
def age(seconds, **which):
    from datetime import timedelta
    from django.utils import timezone
    TaskResult.objects.filter(**which).update(date_done=timezone.now() - timedelta(seconds=seconds))
"""


def test_older_results_go_when_the_grace_is_over(site: Site) -> None:
    found = run(
        site,
        AGE
        + """
rows.PAUSE = 0
for number in range(8): store(f"s{number}"); store(f"f{number}", states.FAILURE, result=KeyError())
store("r0", states.REVOKED, result=KeyError())
store("p0", states.STARTED)
fresh = stored()
for number in range(8):
    age(200 - number, task_id=f"s{number}"); age(90 - number, task_id=f"f{number}")
age(80, task_id="r0"), age(500, task_id="p0")
backend.process_cleanup()
show(fresh=len(fresh), stored=stored())
""",
    )
    kept = ["f6", "f7", "p0", "r0", "s3", "s4", "s5", "s6", "s7"]
    assert found == {"fresh": 18, "stored": kept}


def test_the_task_is_known_without_result_extended(site: Site) -> None:
    found = run(
        site,
        """
store("a"); store("b", group="g")
names = dict(TaskResult.objects.values_list("task_id", "task_name"))
meta = backend.get_task_meta("b")
show(names=names, group=meta["group_id"], args=TaskResult.objects.get(task_id="a").task_args)
""",
    )
    assert found["names"] == {"a": f"{TASKS}.add", "b": f"{TASKS}.add"}
    assert found["group"] == "g"
    assert found["args"] is None


@pytest.mark.parametrize("extended", [False, True])
def test_groups_chords_and_results_of_others_stay(extended: bool, site: Site) -> None:
    found = run(
        site,
        AGE
        + """
rows.PAUSE = 0
for number in range(8): store(f"g{number}", group="g")
for number in range(8): store(f"c{number}", chord={"task": "x"})
for number in range(8): store(f"n{number}", task=None)
for number in range(8): store(f"e{number}", task="tests.tasks.site.results.every")
for number in range(8): store(f"w{number}", task="tests.tasks.site.results.few")
# As an older deployment stored them: whether they belong to a group, nobody knows.
TaskResult.objects.create(task_id="old", task_name="tests.tasks.site.results.few", status="SUCCESS")
GroupResult.objects.create(group_id="g"); ChordCounter.objects.create(group_id="g", count=1)
age(3600)
for number in range(8): store(f"s{number}")
backend.process_cleanup()
left = stored()
show(left=[job for job in left if job[0] not in "gcnes"], size=len(left),
     groups=GroupResult.objects.count() + ChordCounter.objects.count())
""",
        CELERY_RESULT_EXTENDED=extended,
    )
    assert found == {"left": ["old", "w6", "w7"], "size": 5 * 8 + 2 + 1, "groups": 2}


def test_the_cost_is_bounded(site: Site) -> None:
    found = run(
        site,
        AGE
        + """
store("first")
with CaptureQueriesContext(connection) as plain:
    super(type(backend), backend).store_result("x", None, states.SUCCESS)
with CaptureQueriesContext(connection) as usual:
    store("second"); backend.process_cleanup()
for number in range(30): store(f"s{number}")
age(100)
backend._trimmer._due.clear()
with CaptureQueriesContext(connection) as trimming:
    store("last"); backend.process_cleanup(); backend.process_cleanup()
sent = [query["sql"].split()[0] for query in trimming]
show(plain=len(plain), usual=len(usual), trimming=sent[len(plain):], left=len(stored()))
""",
    )
    assert found["usual"] == found["plain"]
    assert found["trimming"] == ["SELECT", "SELECT", "BEGIN", "DELETE", "COMMIT"]
    assert found["left"] == 5 + 1


def test_within_a_transaction_nothing_is_deleted(site: Site) -> None:
    found = run(
        site,
        AGE
        + """
for number in range(8): store(f"s{number}")
age(100)
backend._trimmer._due.clear()
with transaction.atomic():
    store("t"); inside = len(stored())
backend.process_cleanup()
show(inside=inside, after=len(stored()))
""",
    )
    assert found == {"inside": 9, "after": 5}


def test_a_database_that_refuses_does_not_fail_the_job(site: Site) -> None:
    done = site.produce(
        HEAD
        + """
from unittest import mock
from django.db import OperationalError
with mock.patch.object(backend._trimmer, "_delete", side_effect=OperationalError("locked")):
    store("a")
assert stored() == ["a"]
"""
    )
    assert "Older results could not be deleted." in done.stderr


def test_the_daily_cleanup_takes_what_is_left(site: Site) -> None:
    found = run(
        site,
        AGE
        + """
for number in range(2100): store(f"s{number:04}")
for number in range(8): store(f"g{number}", group="g")
age(3600); age(30 * 86400, task_id="g0")
from tests.tasks.site.results import add
app.tasks["celery.backend_cleanup"]()
show(left=len(stored()))
""",
    )
    assert found == {"left": 5 + 7}


def test_many_are_stored_at_once(site: Site) -> None:
    found = run(
        site,
        """
request = lambda job: Context({"id": job, "task": "tests.tasks.site.results.add"})
errors = backend.store_many(
    [(job, object() if job == "b" else job, states.SUCCESS, None, request(job)) for job in "abc"]
)
show(errors=list(errors), states=[backend.get_task_meta(job)["status"] for job in "abc"])
""",
    )
    assert found == {"errors": ["b"], "states": ["SUCCESS", "FAILURE", "SUCCESS"]}


@pytest.mark.parametrize("block", ["contextlib.nullcontext()", "transaction.atomic()"])
def test_of_many_one_that_the_database_refuses_fails_alone(block: str, site: Site) -> None:
    found = run(
        site,
        f"""
import contextlib
request = lambda job: Context({{"id": job, "task": "tests.tasks.site.results.add"}})
with connection.cursor() as cursor:
    cursor.execute(
        "CREATE TRIGGER refuse BEFORE INSERT ON django_celery_results_taskresult"
        " WHEN NEW.result = '\\"bad\\"' OR NEW.task_id = 'd'"
        " BEGIN SELECT RAISE(ABORT, 'no such rows'); END"
    )
rows = [(job, "bad" if job == "b" else job, states.SUCCESS, None, request(job)) for job in "abcde"]
with {block}:
    errors = backend.store_many([*rows, ("f", "bad", states.STARTED, None, request("f"))])
show(errors={{job: type(error).__name__ for job, error in errors.items()}},
     states=[backend.get_task_meta(job)["status"] for job in "abcdef"])
""",
    )
    assert found == {
        "errors": dict.fromkeys("bdf", "IntegrityError"),
        "states": ["SUCCESS", "FAILURE", "SUCCESS", "PENDING", "SUCCESS", "PENDING"],
    }


def test_of_many_only_the_one_at_hand_fails_when_the_connection_is_lost(site: Site) -> None:
    found = run(
        site,
        """
request = lambda job: Context({"id": job, "task": "tests.tasks.site.results.add"})
def store(job, *rest, base=backend.store_result):
    if job == "b" and connection.connection is first: connection.connection.close()
    return base(job, *rest)
connection.ensure_connection()
first, backend.store_result = connection.connection, store
errors = backend.store_many([(job, job, states.SUCCESS, None, request(job)) for job in "abc"])
show(errors=list(errors), states=[backend.get_task_meta(job)["status"] for job in "abc"])
""",
    )
    assert found == {"errors": ["b"], "states": ["SUCCESS", "FAILURE", "SUCCESS"]}


def test_switched_off_it_does_what_the_other_does(site: Site) -> None:
    found = run(
        site,
        AGE
        + """
for number in range(8): store(f"s{number}")
age(3600)
store("last"); backend.process_cleanup(); backend.cleanup()
names = set(TaskResult.objects.values_list("task_name", "meta"))
show(left=len(stored()), names=sorted(names))
""",
        REDIS_OPTIMIZER={"ENABLED": False},
    )
    assert found == {"left": 9, "names": [[None, '{"children": []}']]}


CANVAS = """
from celery import chord, group
from tests.tasks.site.results import add, fail, total
one, bad = add.delay(1, 2), fail.delay(3)
many = group(add.s(n, n) for n in range(8)).delay()
body = chord([add.s(n, 1) for n in range(8)])(total.s())
found = dict(
    one=one.get(timeout=60), many=many.get(timeout=60), body=body.get(timeout=60),
    bad=repr(bad.get(timeout=60, propagate=False)), child=body.children,
)
show(**found)
"""


@pytest.mark.slow
def test_canvas_works_as_with_the_other(site: Site) -> None:
    found = []
    for backend in ("django-db", BACKEND):
        settings = {"CELERY_RESULT_BACKEND": backend}
        with site.worker(**settings):
            found.append(run(site, CANVAS, **settings))
    assert found[0] == found[1]
    assert found[1]["body"] == 36


COUNTS = """
from django.db.models import Count
counts = TaskResult.objects.values_list("task_name", "status").annotate(Count("pk"))
show(counts={f"{name.rpartition('.')[2]} {status}": count for name, status, count in counts})
"""


@pytest.mark.slow
def test_workers_keep_the_last_of_each_task(site: Site) -> None:
    """The grace is 1 s in these workers, and what the main process stores counts, too."""
    site.tasks = (f"{TASKS}_grace",)
    send = """
from celery import group
from tests.tasks.site.results import add, die, fail, late
for number in range(12): add.delay(number)
for number in range(7): fail.delay(number)
for number in range(4): die.delay()
group(late.s(n, 0) for n in range(9)).delay()
"""
    again = """
from tests.tasks.site.results import add, die, fail
add.delay(1), fail.delay(1), die.delay()
"""
    with site.worker("-c", "1"):
        site.produce(send)
        wait_until(lambda: run(site, COUNTS)["counts"].get("late SUCCESS") == 9)
        expected = {"add SUCCESS": 5, "fail FAILURE": 3, "die FAILURE": 3, "late SUCCESS": 9}

        def kept() -> bool:
            site.produce(again)
            return run(site, COUNTS)["counts"] == expected

        wait_until(kept, step=1.5)
