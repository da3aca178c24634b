"""`debounce` and `keep_last`: the arguments of the latest call, in real workers."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from redis_optimizer.embedded import EmbeddedServer
from tests.servers import wait_until
from tests.tasks.dedup import TASKS, Producer, locks, monitored, settle
from tests.tasks.processes import Site, Worker
from tests.tasks.queues import ids
from tests.tasks.site.dedup import WINDOW


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, server: EmbeddedServer) -> Site:
    return Site(tmp_path_factory.mktemp("site"), server.port, tasks=[TASKS])


@pytest.fixture(scope="module")
def worker(site: Site) -> Iterator[Worker]:
    with site.worker("-c", "2") as worker:
        yield worker


@pytest.fixture
def producer(site: Site, worker: Worker, admin: redis.Redis) -> Iterator[Producer]:
    with Producer(site) as producer:
        yield producer
    # A job may end after its message is gone; the next test counts commands.
    wait_until(lambda: locks(admin) == [])


def test_debounce_runs_once_with_the_latest_arguments(
    producer: Producer, admin: redis.Redis
) -> None:
    with monitored(admin) as sent:
        calls = [producer.debounced.delay("a", number) for number in range(5)]
        assert {call.id for call in calls} == {calls[0].id}
        settle(admin)
    assert producer.notes(calls[0].id) == ["4"]
    # Not the first of all: the job of an earlier test may have ended just then.
    assert sent.count("DEBOUNCE") == 5
    assert sent[-2:] == ["CLAIM_DEBOUNCED", "DROP"]
    assert locks(admin) == []


def test_debounce_without_a_duplicate_is_one_command_at_each_end(
    producer: Producer, admin: redis.Redis
) -> None:
    with monitored(admin) as sent:
        job = producer.debounced.delay("a", 1)
        settle(admin)
    assert producer.notes(job.id) == ["1"]
    assert sent == ["DEBOUNCE", "CLAIM_DEBOUNCED"]
    assert locks(admin) == []


def test_debounce_waits_for_quiet(producer: Producer, admin: redis.Redis) -> None:
    job = producer.debounced.delay("a", 0)
    (key,) = locks(admin)
    due = int(admin.hget(key, "due") or 0)
    calls = 0
    while admin.time()[0] * 1000 < due + 1000 * WINDOW:  # beyond the end of the first window
        calls += 1
        assert producer.debounced.delay("a", calls).id == job.id
    assert producer.notes(job.id) == []
    settle(admin)
    assert producer.notes(job.id) == [str(calls)]


def test_debounce_begins_a_new_window_when_the_job_starts(
    producer: Producer, admin: redis.Redis
) -> None:
    job = producer.debounced.delay("a", 1, how=producer.wait)
    producer.wait_run(job.id)
    other = producer.debounced.delay("a", 2)
    assert other.id != job.id
    producer.wait_run(other.id)
    producer.open_gate()
    settle(admin)
    assert producer.notes(job.id) + producer.notes(other.id) == ["1", "2"]


def test_keep_last_gives_a_job_that_waits_the_latest_arguments(
    producer: Producer, admin: redis.Redis
) -> None:
    first = producer.last.apply_async(("a", 1), countdown=1)
    assert producer.last.delay("a", 2).id == first.id
    assert producer.last.delay("a", number=3).id == first.id
    settle(admin)
    assert producer.notes(first.id) == ["3"]
    assert locks(admin) == []


def test_keep_last_runs_one_more_with_the_latest_arguments(
    producer: Producer, admin: redis.Redis
) -> None:
    with monitored(admin) as sent:
        first = producer.last.delay("a", 1, how=producer.wait)
        producer.wait_run(first.id)
        waiting = producer.last.delay("a", 2)
        assert waiting.id != first.id
        assert producer.last.delay("a", 3).id == producer.last.delay("a", 4).id == waiting.id
        assert ids(admin) == []
        producer.open_gate()
        settle(admin)
    assert producer.notes(first.id) + producer.notes(waiting.id) == ["1", "4"]
    assert sorted(sent) == ["CLAIM_LAST"] * 2 + ["FINISH"] * 2 + ["KEEP_LAST"] * 4
    assert locks(admin) == []


def test_keep_last_goes_on_and_on(producer: Producer, admin: redis.Redis) -> None:
    jobs = [producer.last.delay("a", number).id for number in range(200)]
    settle(admin)
    ran = [note for job in dict.fromkeys(jobs) for note in producer.notes(job)]
    assert ran == sorted(ran, key=int)
    assert ran[-1] == "199"
    assert all(producer.runs(job) == 1 for job in jobs)
    assert locks(admin) == []


@pytest.mark.parametrize("how", ["fail", "ignore", "reject", "retry"])
def test_what_waits_runs_however_the_one_before_it_ended(
    producer: Producer, admin: redis.Redis, how: str
) -> None:
    first = producer.last.delay("a", 1, how=producer.wait)
    producer.wait_run(first.id)
    second = producer.last.delay("a", 2, how=how)
    producer.open_gate()
    producer.wait_run(second.id)
    third = producer.last.delay("a", 3)
    producer.wait_run(third.id)
    settle(admin)
    assert producer.notes(third.id) == ["3"]
    assert locks(admin) == []


def test_what_waits_is_sent_as_it_was_called(producer: Producer, admin: redis.Redis) -> None:
    first = producer.last.delay("a", 1, how=producer.wait)
    producer.wait_run(first.id)
    producer.last.apply_async(("a", 2), queue="other", priority=6, headers={"mine": 1})
    producer.open_gate()
    name = "other\x06\x166"
    message = json.loads(wait_until(lambda: admin.lindex(name, 0)))
    assert message["headers"]["mine"] == 1
    admin.flushdb()  # nobody runs it


def test_a_retry_has_the_latest_arguments(producer: Producer, admin: redis.Redis) -> None:
    first = producer.last.apply_async(("a", 1), {"how": "retry"}, countdown=1)
    producer.last.delay("a", 2, how="retry")
    settle(admin)
    assert producer.notes(first.id) == ["2", "2"]
    assert locks(admin) == []


def test_a_function_without_self_has_the_latest_arguments(
    producer: Producer, admin: redis.Redis
) -> None:
    before = len(producer.notes("unbound"))
    producer.unbound.apply_async(("a",), countdown=1)
    producer.unbound.delay("a", 5)
    settle(admin)
    assert producer.notes("unbound")[before:] == ["5"]


@pytest.mark.parametrize("mode", ["last", "debounced"])
def test_a_lapsed_ttl_leaves_the_arguments_of_the_message(
    producer: Producer, admin: redis.Redis, mode: str
) -> None:
    task = getattr(producer, mode)
    first = task.apply_async(("a", 1), countdown=1)
    task.delay("a", 2)
    admin.delete(*locks(admin))
    settle(admin)
    assert producer.notes(first.id) == ["1"]
    assert locks(admin) == []


def test_what_waits_lapses(producer: Producer, admin: redis.Redis) -> None:
    first = producer.last.delay("a", 1, how=producer.wait)
    producer.wait_run(first.id)
    (key,) = locks(admin)
    assert 590_000 < admin.pttl(key) <= 600_000
    producer.last.delay("a", 2)
    assert 590_000 < admin.pttl(key) <= 600_000


@pytest.mark.parametrize("mode", ["last", "debounced"])
def test_called_directly_a_task_has_its_own_arguments(
    producer: Producer, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    monkeypatch.setenv("SITE_RUNS", str(producer.site.runs))
    task: Any = getattr(producer, mode)
    assert task("a", 7) == task.run("a", number=7) == 7
