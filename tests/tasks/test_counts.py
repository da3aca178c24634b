"""Jobs are counted by the way they took."""

import json
import os
import signal
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery
from django.test import override_settings

from redis_optimizer.embedded import EmbeddedServer
from redis_optimizer.signals import job_deduplicated
from redis_optimizer.stats.costs import Costs, measuring
from redis_optimizer.stats.registry import registry
from redis_optimizer.tasks import OptimizedTask, batch, batch_stats, batching, counts
from redis_optimizer.tasks.counts import MAX_TASKS, OTHERS, JobCounter, counter
from redis_optimizer.tasks.message import Message
from tests.servers import wait_until

LONG = 3600.0
NONE = {"active_batches": 0, "total_queued_jobs": 0, "batches_by_type": {}}


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    counter.reset()
    yield
    counter.reset()


@pytest.fixture(params=[True, False], ids=["envelopes", "side by side"])
def envelopes(request: pytest.FixtureRequest) -> bool:
    given: bool = request.param
    return given


@pytest.fixture
def app(server: EmbeddedServer, envelopes: bool) -> Iterator[Celery]:
    with override_settings(REDIS_OPTIMIZER={"ENVELOPES": envelopes}):
        app = Celery("counts", broker=server.url, set_as_current=False)
        app.conf.task_ignore_result = True
        yield app
        batching.outbox().close(0)
        batching._forget()


@pytest.fixture
def task(app: Celery) -> Any:
    @app.task(shared=False, name="t.add", base=OptimizedTask, batch_size=3, batch_timeout=LONG)
    def add(number: int) -> None: ...

    return add


def message(task: str) -> Message:
    return Message("1", task, "[]", "application/json", "utf-8", {}, {}, "", "celery", 0)


def test_what_waits_is_told_by_task(task: Any) -> None:
    assert batch_stats() == NONE
    for number in range(2):
        task.delay(number)
    assert batch_stats() == {
        "active_batches": 1,
        "total_queued_jobs": 2,
        "batches_by_type": {"t.add": {"batches": 1, "jobs": 2}},
    }
    task.delay(3)
    assert batch_stats() == NONE


def test_a_batch_is_counted_when_it_has_left(task: Any, envelopes: bool) -> None:
    for number in range(3):
        task.delay(number)
    seen = counter.totals()
    assert {name: seen[name] for name in ("buffered", "sent", "sendings", "commands_avoided")} == {
        "buffered": 3,
        "sent": 3,
        "sendings": 1,
        "commands_avoided": 2,
    }
    assert (seen["messages"], seen["envelopes"]) == ((1, 1) if envelopes else (3, 0))
    assert (seen["sizes"], seen["reasons"]) == ({"5": 1}, {"size": 1})
    assert seen["tasks"] == {"t.add": {"buffered": 3, "sent": 3}}
    assert registry.totals()["jobs"] == seen | {"waiting": NONE}
    assert json.loads(json.dumps(seen)) == seen


def test_why_a_batch_left_is_counted(app: Celery, task: Any) -> None:
    task.delay(1)
    batching.flush_all()
    assert counter.totals()["reasons"] == {"asked": 1}

    @app.task(shared=False, name="t.soon", base=OptimizedTask, batch_size=9, batch_timeout=0.01)
    def soon() -> None: ...

    soon.delay()
    wait_until(lambda: counter.totals()["reasons"].get("age") == 1)
    task.delay(1)
    batching.outbox().close(10)
    wait_until(lambda: counter.totals()["reasons"].get("exit") == 1)


def test_ordinary_tasks_of_a_block_are_counted_as_well(app: Celery) -> None:
    @app.task(shared=False, name="t.plain")
    def plain() -> None: ...

    with batch(app=app):
        plain.delay()
        plain.delay()
        assert batch_stats()["batches_by_type"] == {"": {"batches": 1, "jobs": 2}}
    seen = counter.totals()
    assert (seen["sent"], seen["sendings"], seen["messages"]) == (2, 1, 2)
    assert seen["tasks"] == {"t.plain": {"buffered": 2, "sent": 2}}


def test_what_could_not_be_sent_is_not_counted(task: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any) -> None:
        raise OSError

    monkeypatch.setattr(batching, "send", refuse)
    for number in range(3):
        task.delay(number)
    seen = counter.totals()
    assert (seen["buffered"], seen["sent"]) == (3, 0)
    assert seen["failures"] >= 1
    batching.outbox().close(0)
    seen = counter.totals()
    assert (seen["lost"], seen["tasks"]["t.add"]["lost"]) == (3, 3)


def test_duplicates_are_counted() -> None:
    job_deduplicated.send_robust(None, task="t.add", id="2", existing_id="1")
    seen = counter.totals()
    assert (seen["duplicates"], seen["tasks"]) == (1, {"t.add": {"duplicates": 1}})


def test_what_a_worker_does_is_counted() -> None:
    counts = JobCounter()
    counts.open(100)
    counts.run("t.add", 99)
    counts.run("t.add", failed=True)
    seen = counts.totals()
    assert {name: seen[name] for name in ("opened", "unpacked", "ran", "failed")} == {
        "opened": 1,
        "unpacked": 100,
        "ran": 100,
        "failed": 1,
    }
    assert seen["tasks"] == {"t.add": {"ran": 100, "failed": 1}}


def test_jobs_of_a_request_are_among_its_costs(task: Any) -> None:
    costs = Costs()
    with measuring(costs):
        task.delay(1)
        task.delay(2)
    assert costs.jobs == 2


def test_events_that_leave_with_jobs_are_none() -> None:
    counts = JobCounter()
    counts.buffer(message(""))
    counts.send([message("")], envelope=False)
    counts.send([message(""), message("a")], envelope=False)
    seen = counts.totals()
    assert (seen["buffered"], seen["sent"], seen["messages"], seen["sendings"]) == (0, 1, 1, 1)


@pytest.mark.parametrize(("size", "bucket"), [(1, "1"), (2, "5"), (100, "100"), (101, "more")])
def test_sizes_are_told_apart_by_bounds(size: int, bucket: str) -> None:
    counts = JobCounter()
    counts.send([message("a")] * size, envelope=True)
    assert counts.totals()["sizes"] == {bucket: 1}


def test_names_of_tasks_are_bounded() -> None:
    counts = JobCounter()
    for number in range(MAX_TASKS + 5):
        counts.buffer(message(f"t{number}"))
    tasks = counts.totals()["tasks"]
    assert (len(tasks), tasks[OTHERS]) == (MAX_TASKS + 1, {"buffered": 5})


def test_no_count_of_many_threads_is_lost() -> None:
    counts = JobCounter()

    def count() -> None:
        for _ in range(2_000):
            counts.buffer(message("a"))

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert counts.series()["buffered"] == 8_000


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_begins_with_nothing_and_without_the_parents_lock() -> None:
    counter.buffer(message("a"))
    with counts.counter._lock:  # as another thread of the parent may hold it
        child = os.fork()
        if not child:
            signal.alarm(30)  # rather than wait for ever
            os._exit(counter.series()["buffered"])
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert counter.series()["buffered"] == 1
