"""What jobs cost, by what clients sent to the server: a producer and a real worker together."""

import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from redis_optimizer.embedded import EmbeddedServer
from redis_optimizer.management.benchmark.wire import Wire
from tests.servers import wait_until
from tests.tasks.processes import Site
from tests.tasks.site import runs

PRODUCE = """
import sys
from contextlib import nullcontext
from redis_optimizer.tasks import batch
from tests.tasks.site import budget
for line in sys.stdin:
    task, jobs, block = line.split()
    with batch() if block == "True" else nullcontext():
        for number in range(int(jobs)):
            getattr(budget, task).delay(number)
"""
# Progress of an envelope is noted once a second: how often depends on the machine.
BY_TIME = ("SET", "DEL")


class Counted:
    """A site with a producer and a worker that are connected, whose commands are counted."""

    def __init__(self, site: Site, producer: "subprocess.Popen[str]", wire: Wire) -> None:
        self.site = site
        self.producer = producer
        self.wire = wire
        self.done = 0

    def per_job(self, task: str, jobs: int) -> float:
        """Return the commands for each job, until it is done and acknowledged."""
        sent = self.run(task, jobs)
        return sum(count for name, count in sent.items() if name not in BY_TIME) / jobs

    def run(self, task: str, jobs: int, *, block: bool = False) -> Counter[str]:
        """Send jobs, wait for them and return what was sent."""
        assert self.producer.stdin is not None
        self.wire.restart()
        self.producer.stdin.write(f"{task} {jobs} {block}\n")
        self.producer.stdin.flush()
        self.done += jobs
        wait_until(lambda: len(runs.counts(self.site.runs)) == self.done)
        wait_until(lambda: self._is_quiet())
        return self.wire.counts().commands

    def _is_quiet(self) -> bool:
        return self.wire._client.hlen("unacked") == 0


@pytest.fixture(scope="module")
def counted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Counted]:
    directory: Path = tmp_path_factory.mktemp("counted")
    with EmbeddedServer() as server:
        settings: dict[str, Any] = {"PROFILE": "metered", "REDIS_OPTIMIZER": {"ENVELOPES": True}}
        site = Site(directory, server.port, tasks=["tests.tasks.site.budget"], settings=settings)
        with (
            site.worker("-c", "2"),
            site.start(PRODUCE) as producer,
            Wire(server.url) as wire,
        ):
            counted = Counted(site, producer, wire)
            for task in ("ignored", "kept", "together", "plain", "plain_ignored"):
                counted.run(task, 4, block=True)  # connects, loads the scripts
            yield counted


# The bounds leave room for BRPOPs that end early and for what is sent at times: on a machine that
# has much to do those are several in a run.


def test_jobs_in_batches(counted: Counted) -> None:
    assert counted.per_job("ignored", 300) <= 0.12


def test_jobs_in_batches_whose_results_are_kept(counted: Counted) -> None:
    assert counted.per_job("kept", 300) <= 1.15


def test_jobs_in_bulk_whose_results_are_kept(counted: Counted) -> None:
    assert counted.per_job("together", 300) <= 0.12


def test_a_plain_job_whose_result_is_kept(counted: Counted) -> None:
    assert counted.per_job("plain", 100) <= 5.6


def test_the_producer_of_plain_jobs_in_a_block(counted: Counted) -> None:
    sent = counted.run("plain_ignored", 200, block=True)
    assert sent["LPUSH"] / 200 <= 0.02
    assert sent["BRPOP"] >= 200  # each is a message of its own to the worker
