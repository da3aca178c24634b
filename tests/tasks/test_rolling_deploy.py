"""Old and new processes on one queue, while one takes the place of the other: no job is missing.

Old ones have plain Celery and know nothing of redis_optimizer.
"""

import contextlib
import subprocess
import sys
from collections.abc import Iterator

import pytest
import redis

from redis_optimizer.tasks.envelope import batch_queue
from tests.servers import wait_until
from tests.tasks.processes import ROOT, Site
from tests.tasks.site import runs

TASKS = ("tests.tasks.site.canvas_rolling",)
HEAD = """
import django; django.setup()
from tests.tasks.site.app import app
app.loader.import_default_modules()
from tests.tasks.site.canvas_rolling import numbered, produce
"""
SEND = """
from tests.tasks.site.canvas_rolling import numbered
for number in range({start}, {stop}):
    numbered.delay(str(number))
"""
EXPLODE = """
from django.core.management import call_command
call_command("redis_optimizer_flush", "--explode")
"""
# A pool of any Celery takes 30 s to stop when its last result crosses with the order to stop.
LONG = 60
ALWAYS = {"REDIS_OPTIMIZER": {"ENVELOPES": True}}
OFF = {"REDIS_OPTIMIZER": {"ENABLED": False}}


@pytest.fixture
def site(make_site) -> Site:
    return make_site(tasks=TASKS)


def send(site: Site, start: int, stop: int, **options: object) -> None:
    site.produce(SEND.format(start=start, stop=stop), **options)


def wait_ran(site: Site, count: int) -> None:
    """Wait until every job of a range has run, and none of another."""
    expected = {str(number) for number in range(count)}
    wait_until(lambda: {*runs.counts(site.runs)} == expected)


class Producer:
    """A process that sends jobs until it is asked to stop."""

    def __init__(self, site: Site, name: str, *, plain: bool) -> None:
        self.stop = site.directory / "stop"
        self.process = subprocess.Popen(
            [sys.executable, "-c", HEAD + f"produce({name!r}, {str(self.stop)!r})"],
            cwd=ROOT,
            env=site.environment(plain=plain),
            stdout=subprocess.PIPE,
            text=True,
        )

    def finish(self) -> list[str]:
        """Stop it and return what it has sent."""
        self.stop.touch()
        sent, _ = self.process.communicate(timeout=30)
        assert self.process.returncode == 0
        return sent.split()


@contextlib.contextmanager
def producers(site: Site) -> Iterator[list[Producer]]:
    """Run an old and a new producer."""
    both = [Producer(site, "old", plain=True), Producer(site, "new", plain=False)]
    try:
        yield both
    finally:
        for producer in both:
            producer.process.kill()
            producer.process.wait()


def test_new_producers_send_to_old_workers_what_these_can_read(site, admin):
    with site.worker(plain=True):
        send(site, 0, 50)
        wait_ran(site, 50)
    assert not admin.exists(batch_queue("celery"))


def test_new_producers_send_envelopes_where_a_new_worker_stands_by_an_old_one(site, admin):
    with site.worker(plain=True) as old, site.worker() as new:
        send(site, 0, 50)
        send(site, 50, 100, plain=True)
        wait_ran(site, 100)
        assert "Received unregistered task" not in old.log
    assert new.log.count("succeeded") > 0


def test_old_producers_are_served_by_new_workers(site):
    with site.worker():
        send(site, 0, 50, plain=True)
        wait_ran(site, 50)


def test_envelopes_stay_out_of_the_reach_of_old_workers(site, admin):
    with site.worker(plain=True) as old:
        send(site, 0, 30, **ALWAYS)
        send(site, 30, 40, plain=True)
        wait_until(lambda: len(runs.counts(site.runs)) == 10)
        assert admin.llen(batch_queue("celery")) == 3
        assert "Received unregistered task" not in old.log
    with site.worker():
        wait_ran(site, 40)


def test_a_rollback_explodes_the_envelopes_that_are_left(site, admin):
    send(site, 0, 30, **ALWAYS)
    assert admin.llen(batch_queue("celery")) == 3
    site.produce(EXPLODE)
    assert not admin.exists(batch_queue("celery"))
    assert admin.llen("celery") == 30
    with site.worker(plain=True):
        wait_ran(site, 30)


def test_a_worker_in_which_it_is_switched_off_opens_envelopes_that_are_queued(site, admin):
    send(site, 0, 30, **ALWAYS)
    send(site, 30, 60, **OFF)
    assert admin.llen(batch_queue("celery")) == 3
    assert admin.llen("celery") == 30
    with site.worker(**OFF):
        wait_ran(site, 60)


@pytest.mark.slow
def test_no_job_is_missing_while_workers_are_replaced_and_back(site, admin, capsys):
    with producers(site) as sending, site.worker(plain=True) as old:
        wait_until(lambda: len(runs.counts(site.runs)) > 50)
        with site.worker() as new:
            assert old.stop(timeout=LONG) == 0
            wait_until(lambda: len(runs.counts(site.runs)) > 300)
            with site.worker(plain=True):  # back again
                assert new.stop(timeout=LONG) == 0
                seen = len(runs.counts(site.runs))
                wait_until(lambda: len(runs.counts(site.runs)) > seen + 100)
                sent = {job for producer in sending for job in producer.finish()}
                # The new producer may not have noticed yet that nobody opens envelopes.
                site.produce(EXPLODE)
                wait_until(lambda: sent <= {*runs.counts(site.runs)}, LONG)
    counts = runs.counts(site.runs)
    assert {*counts} == sent
    assert _is_empty(admin)
    with capsys.disabled():
        print(f"\n{len(sent)} jobs, {counts.total() - len(counts)} of them twice")


def _is_empty(admin: redis.Redis) -> bool:
    return not admin.hlen("unacked") and not admin.exists("celery", batch_queue("celery"))
