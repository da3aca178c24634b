"""Locks in workers of their own: some are killed or stop, others have no child processes."""

from collections.abc import Callable

import pytest
import redis

from tests.servers import wait_until
from tests.tasks.dedup import TASKS, Producer, locks, monitored, settle
from tests.tasks.processes import Site
from tests.tasks.queues import ids

pytestmark = pytest.mark.slow


def test_a_job_that_is_delivered_again_keeps_its_lock(
    make_site: Callable[..., Site], admin: redis.Redis
) -> None:
    site = make_site(tasks=[TASKS])
    with Producer(site) as producer, site.worker("-c", "1"):
        job = producer.executed.delay("a", how=f"kill once, then {producer.wait}")
        producer.wait_run(job.id, 2)
        assert producer.executed.delay("a").id == job.id
        producer.open_gate()
        wait_until(lambda: not locks(admin))


def test_of_a_worker_that_is_killed_the_lock_lapses(
    make_site: Callable[..., Site], admin: redis.Redis
) -> None:
    site = make_site(tasks=[TASKS])
    with Producer(site) as producer, site.worker("-c", "1") as worker:
        job = producer.executed.delay("a", how=producer.wait)
        producer.wait_run(job.id)
        worker.kill()
        assert producer.executed.delay("a").id == job.id
        (key,) = locks(admin)
        assert 0 < admin.pttl(key) <= 600_000
        admin.pexpire(key, 1)
        wait_until(lambda: not locks(admin))
        assert producer.executed.delay("a").id != job.id


def test_a_worker_that_stops_keeps_the_locks_of_what_it_gives_back(
    make_site: Callable[..., Site], admin: redis.Redis
) -> None:
    site = make_site(tasks=[TASKS])
    with Producer(site) as producer, site.worker("-c", "1") as worker:
        job = producer.executed.apply_async(("a",), countdown=60)
        worker.wait_log(f"[{job.id}] received")
        worker.stop()
        assert ids(admin) == [job.id]
        assert producer.executed.delay("a").id == job.id


@pytest.mark.parametrize("pool", ["solo", "threads"])
def test_without_child_processes_an_end_is_one_command_as_well(
    make_site: Callable[..., Site], admin: redis.Redis, pool: str
) -> None:
    site = make_site(tasks=[TASKS])
    with Producer(site) as producer, site.worker("-P", pool, "-c", "1"):
        with monitored(admin) as sent:
            for how in ("", "fail", "reject", "retry"):
                producer.executed.delay(how, how=how)
            producer.stumbling.delay()
            settle(admin)
        assert sorted(sent) == ["EXTEND", *["RELEASE"] * 5, *["SET"] * 5]
        assert locks(admin) == []


QUICK = {
    "CELERY_BROKER_TRANSPORT_OPTIONS": {
        "visibility_timeout": 3,
        "unacked_restore_interval": 1,
        "unacked_restore_throttle": 1,
        "unacked_mutex_expire": 2,  # of a worker that is killed while it holds that
    }
}


def test_a_debounced_job_survives_the_worker_that_holds_it(
    make_site: Callable[..., Site], admin: redis.Redis
) -> None:
    site = make_site(tasks=[TASKS], settings=QUICK)
    with Producer(site) as producer:
        with site.worker("-c", "1") as worker:
            job = producer.debounced.delay("a", 1)
            producer.debounced.delay("a", 2)
            worker.wait_log(f"[{job.id}] received")
            worker.kill()
        assert producer.notes(job.id) == []
        with site.worker("-c", "1"):
            producer.wait_run(job.id)
            wait_until(lambda: not locks(admin))
        assert producer.notes(job.id) == ["2"]


@pytest.mark.parametrize("mode", ["last", "debounced"])
def test_a_job_that_is_delivered_again_has_the_latest_arguments(
    make_site: Callable[..., Site], admin: redis.Redis, mode: str
) -> None:
    site = make_site(tasks=[TASKS])
    with Producer(site) as producer, site.worker("-c", "1"):
        how = f"kill once, then {producer.wait}"
        first = getattr(producer, mode).apply_async(("a", 1), {"how": how}, countdown=1)
        getattr(producer, mode).delay("a", 2, how=how)
        producer.open_gate()
        producer.wait_run(first.id, 2)
        assert producer.notes(first.id) == ["2", "2"]
        wait_until(lambda: not locks(admin))


def test_what_waits_survives_the_worker_that_runs_the_job_before_it(
    make_site: Callable[..., Site], admin: redis.Redis
) -> None:
    site = make_site(tasks=[TASKS], settings=QUICK)
    with Producer(site) as producer:
        with site.worker("-c", "1") as worker:
            first = producer.last.delay("a", 1, how=producer.wait)
            producer.wait_run(first.id)
            waiting = producer.last.delay("a", 2)
            worker.kill()
        assert producer.last.delay("a", 3).id == waiting.id
        producer.open_gate()
        with site.worker("-c", "1"):
            producer.wait_run(waiting.id)
            wait_until(lambda: not locks(admin))
        assert (producer.notes(first.id), producer.notes(waiting.id)) == (["1", "1"], ["3"])
