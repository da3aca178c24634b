"""Each way in which a job can end releases its lock at once, in real workers."""

from collections.abc import Iterator
from typing import Any

import pytest
import redis
from celery import chain, chord, group
from django.test import override_settings

from redis_optimizer.embedded import HOST, EmbeddedServer
from tests.servers import wait_until
from tests.tasks.dedup import TASKS, Producer, locks, monitored, settle
from tests.tasks.processes import Site, Worker


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, server: EmbeddedServer) -> Site:
    settings = {
        "CELERY_RESULT_BACKEND": f"redis://{HOST}:{server.port}/0",
        "CELERY_TASK_REJECT_ON_WORKER_LOST": False,
    }
    return Site(tmp_path_factory.mktemp("site"), server.port, tasks=[TASKS], settings=settings)


@pytest.fixture(scope="module")
def worker(site: Site) -> Iterator[Worker]:
    with site.worker("-c", "2") as worker:
        yield worker


@pytest.fixture
def producer(site: Site, worker: Worker) -> Iterator[Producer]:
    with Producer(site) as producer:
        yield producer


def released(client: redis.Redis) -> None:
    """Wait for what must happen at once: the locks would lapse after minutes."""
    wait_until(lambda: not locks(client))


ENDS: dict[str, dict[str, Any]] = {
    "success": {},
    "failure": {"how": "fail"},
    "Ignore": {"how": "ignore"},
    "Reject": {"how": "reject"},
    "a lost child": {"how": "kill"},
    "the soft time limit": {"how": "sleep", "soft_time_limit": 1},
    "the hard time limit": {"how": "sleep", "time_limit": 1},
    "expiry": {"expires": -1},
}


@pytest.mark.parametrize("mode", ["executed", "last"])
@pytest.mark.parametrize("end", ENDS)
def test_an_end_releases(producer: Producer, admin: redis.Redis, end: str, mode: str) -> None:
    options = dict(ENDS[end])
    how = options.pop("how", "")
    task = getattr(producer, mode)
    with monitored(admin) as sent:
        job = task.apply_async(("a",), {"how": how}, **options)
        released(admin)
        settle(admin)
        assert task.delay("a").id != job.id
        released(admin)
        settle(admin)
    assert producer.runs(job.id) == (end != "expiry")
    assert sent.count("RELEASE" if mode == "executed" else "FINISH") == 2


@pytest.mark.parametrize("mode", ["executed", "executing", "throttled", "last", "debounced"])
def test_a_job_that_is_revoked_before_it_runs_releases(
    producer: Producer, admin: redis.Redis, mode: str
) -> None:
    job = getattr(producer, mode).apply_async(("a",), countdown=2)
    assert locks(admin)
    producer.app.control.revoke(job.id, reply=True, timeout=5, limit=1)
    released(admin)
    assert producer.runs(job.id) == 0


@pytest.mark.parametrize("end", ["revoked", "expired"])
def test_what_has_waited_and_never_runs_releases(
    producer: Producer, admin: redis.Redis, end: str
) -> None:
    first = producer.last.delay("a", how=producer.wait)
    producer.wait_run(first.id)
    waiting = producer.last.apply_async(("a",), expires=-1 if end == "expired" else None)
    if end == "revoked":
        producer.app.control.revoke(waiting.id, reply=True, timeout=5, limit=1)
    producer.open_gate()
    released(admin)
    assert producer.runs(waiting.id) == 0
    after = producer.last.delay("a")
    producer.wait_run(after.id)
    released(admin)


@pytest.mark.parametrize("mode", ["executed", "last"])
def test_a_job_that_is_terminated_releases(
    producer: Producer, admin: redis.Redis, mode: str
) -> None:
    with monitored(admin) as sent:
        job = getattr(producer, mode).delay("a", how="sleep")
        producer.wait_run(job.id)
        producer.app.control.revoke(job.id, terminate=True, signal="SIGKILL")
        released(admin)
        settle(admin)
    assert sent[-1] == ("RELEASE" if mode == "executed" else "FINISH")
    assert len(sent) == (2 if mode == "executed" else 3)


def test_a_job_that_celery_could_not_run_releases(producer: Producer, admin: redis.Redis) -> None:
    with monitored(admin) as sent:
        producer.stumbling.delay()
        released(admin)
        settle(admin)
    assert sent == ["SET", "RELEASE"]
    assert producer.runs("stumbling") == 0


def test_a_retry_keeps_the_lock_and_extends_it(producer: Producer, admin: redis.Redis) -> None:
    with monitored(admin) as sent:
        # Not before the lock has been made to lapse soon.
        job = producer.executed.apply_async(("a",), {"how": "retry"}, countdown=1)
        (key,) = locks(admin)
        admin.pexpire(key, 5_000)
        wait_until(lambda: admin.pttl(key) > 500_000)
        assert producer.executed.delay("a").id == job.id
        producer.wait_run(job.id, 2)
        released(admin)
        settle(admin)
    assert [name for name in sent if name != "PEXPIRE"] == ["SET", "EXTEND", "SET", "RELEASE"]


def test_a_job_that_is_rejected_to_the_queue_keeps_its_lock(
    producer: Producer, admin: redis.Redis
) -> None:
    with monitored(admin) as sent:
        job = producer.executed.delay("a", how=f"requeue once, then {producer.wait}")
        producer.wait_run(job.id, 2)
        assert producer.executed.delay("a").id == job.id
        producer.open_gate()
        released(admin)
        settle(admin)
    assert sent == ["SET", "SET", "RELEASE"]


def test_until_executing_releases_when_the_job_starts(
    producer: Producer, admin: redis.Redis
) -> None:
    with monitored(admin) as sent:
        job = producer.executing.delay("a", how=producer.wait)
        producer.wait_run(job.id)
        assert locks(admin) == []
        other = producer.executing.delay("a")
        assert other.id != job.id
        producer.wait_run(other.id)
        producer.open_gate()
        settle(admin)
    assert sent == ["SET", "RELEASE"] * 2


def test_throttle_is_not_released(producer: Producer, admin: redis.Redis) -> None:
    with monitored(admin) as sent:
        done, failed = producer.throttled.delay("a"), producer.throttled.delay("b", how="fail")
        settle(admin)
        assert producer.throttled.delay("a").id == done.id
        assert producer.throttled.delay("b").id == failed.id
    assert sent == ["SET"] * 4
    assert producer.runs(done.id) == producer.runs(failed.id) == 1


def test_canvases_of_equal_calls_complete(producer: Producer, admin: redis.Redis) -> None:
    before = len(producer.all_notes())
    stands = producer.executed.delay("a", how=producer.wait)
    producer.wait_run(stands.id)
    same = producer.executed.si("a", 3)
    chord([same, same], producer.total.s()).delay()
    chain(same, producer.executed.si("a", 4)).delay()
    group(same, same).delay()
    wait_until(lambda: sorted(producer.all_notes()[before:]) == [*"033333", "4", "6"])
    assert producer.executed.delay("a").id == stands.id
    producer.open_gate()
    released(admin)


def test_jobs_that_begin_in_one_call_are_released_as_it_begins(
    producer: Producer, admin: redis.Redis
) -> None:
    with override_settings(REDIS_OPTIMIZER={"ENVELOPES": True}), monitored(admin) as sent:
        jobs = [producer.counting.delay(key, producer.wait) for key in range(3)]
        for job in jobs:
            producer.wait_run(job.id)
        again = [producer.counting.delay(key) for key in range(3)]
        assert not {job.id for job in jobs} & {job.id for job in again}
        producer.open_gate()
        for job in again:
            producer.wait_run(job.id)
        settle(admin)
    assert locks(admin) == []
    assert sent == [*["SET"] * 3, "RELEASE", *["SET"] * 3, "RELEASE"]


@pytest.mark.parametrize("envelopes", [True, False])
def test_jobs_that_leave_together_are_released_one_by_one(
    producer: Producer, admin: redis.Redis, envelopes: bool
) -> None:
    with override_settings(REDIS_OPTIMIZER={"ENVELOPES": envelopes}), monitored(admin) as sent:
        jobs = [producer.bulky.delay(number) for number in range(10)]
        released(admin)
    assert [producer.runs(job.id) for job in jobs] == [1] * 10
    assert (sent.count("RELEASE"), sent.count("SET")) == (10, 10)
