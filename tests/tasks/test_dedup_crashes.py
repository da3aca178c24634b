"""Locks of jobs whose workers are killed or stop."""

import signal
from collections.abc import Callable

import redis

from tests.servers import wait_until
from tests.tasks.dedup import TASKS, Producer, locks
from tests.tasks.processes import Site


def test_a_job_that_is_delivered_again_keeps_its_lock(
    make_site: Callable[..., Site], admin: redis.Redis
) -> None:
    site = make_site(tasks=[TASKS])
    with Producer(site) as producer, site.worker("-c", "1"):
        job = producer.executed.delay("a", how="kill once, then wait")
        producer.wait_run(job.id, 2)
        assert producer.executed.delay("a").id == job.id
        producer.open_gate()
        wait_until(lambda: not locks(admin), 10)


def test_of_a_worker_that_is_killed_the_lock_lapses(
    make_site: Callable[..., Site], admin: redis.Redis
) -> None:
    site = make_site(tasks=[TASKS])
    with Producer(site) as producer, site.worker("-c", "1") as worker:
        job = producer.executed.delay("a", how="wait")
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
        job = producer.executed.delay("a", how="wait")
        producer.wait_run(job.id)
        worker.stop(signal.SIGQUIT)
        assert producer.executed.delay("a").id == job.id
