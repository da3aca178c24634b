"""No job is lost, whenever a worker or one of its children is killed."""

import os
import random
from pathlib import Path

import pytest

from redis_optimizer.embedded import EmbeddedServer
from tests.servers import wait_until
from tests.tasks.chaos import SETTINGS, run
from tests.tasks.processes import Site
from tests.tasks.site import runs

KILLS = int(os.environ.get("REDIS_OPTIMIZER_KILLS") or 12)


@pytest.mark.slow
def test_every_job_runs_however_often_workers_are_killed(tmp_path: Path) -> None:
    outcome = run("ours", KILLS, tmp_path, seed=random.randrange(10**6))
    assert (outcome.missing, outcome.unacked, outcome.queued) == (0, 0, 0), outcome
    assert outcome.kills >= KILLS


@pytest.mark.slow
def test_with_early_acknowledgement_jobs_are_lost(tmp_path: Path) -> None:
    """What is asserted above can fail: this is the setting that a system check warns of."""
    attempts = (
        run("early", 8, tmp_path / str(n), seed=random.randrange(10**6), timeout=8.0)
        for n in range(6)
    )
    assert any(outcome.missing for outcome in attempts)  # not each kill meets a job that runs


@pytest.mark.slow
def test_a_broker_that_is_away_while_jobs_are_sent_loses_none(tmp_path: Path) -> None:
    code = """
import time
from tests.tasks.site.chaos import work
for number in range(600):
    work.delay(f"job-{number}", 0)
    if number % 50 == 0:
        print(number, flush=True)
    time.sleep(0.01)
"""
    with EmbeddedServer(persistent=True) as server:
        site = Site(tmp_path, server.port, tasks=["tests.tasks.site.chaos"], settings=SETTINGS)
        with site.start(code) as producer:
            assert producer.stdout is not None
            for _ in range(2):
                producer.stdout.readline()
                producer.stdout.readline()
                server.kill()
                producer.stdout.readline()  # it goes on
                server.restart()
            assert producer.wait(60) == 0
        with site.worker("-c", "2"):
            wait_until(lambda: len(runs.counts(site.runs)) == 600)


@pytest.mark.slow
def test_a_broker_that_dies_while_jobs_run_loses_none(tmp_path: Path) -> None:
    code = """
from redis_optimizer.tasks import batch
from tests.tasks.site.chaos import work
with batch():
    for number in range(40):
        work.delay(f"job-{number}", 0.2)
"""
    with EmbeddedServer(persistent=True) as server:
        site = Site(tmp_path, server.port, tasks=["tests.tasks.site.chaos"], settings=SETTINGS)
        with site.worker("-c", "2"):
            site.produce(code)
            wait_until(lambda: runs.counts(site.runs))
            server.kill()
            server.restart()
        # Celery's worker may end with an error of its own here: another goes on, as a supervisor
        # would see to.
        with site.worker("-c", "2"):
            wait_until(lambda: len(runs.counts(site.runs)) == 40)


def test_a_job_that_kills_its_child_stops_no_other(tmp_path: Path, server: EmbeddedServer) -> None:
    site = Site(
        tmp_path,
        server.port,
        tasks=["tests.tasks.site.chaos"],
        settings=SETTINGS | {"CELERY_TASK_REJECT_ON_WORKER_LOST": False},
    )
    code = """
from redis_optimizer.tasks import batch
from tests.tasks.site.chaos import poison, work
with batch():
    for number in range(20):
        (poison if number in (3, 11) else work).delay(f"job-{number}")
"""
    with site.worker("-c", "2") as worker:
        site.produce(code)
        wait_until(lambda: len(runs.counts(site.runs)) == 20)
        assert worker.stop() == 0
    # Jobs that had shared its call ran again: each at least once, and not over and over.
    assert max(runs.counts(site.runs).values()) <= 2
    assert worker.log.count("WorkerLostError") >= 2
