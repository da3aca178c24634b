"""What jobs cost, by what clients sent to the server: producers and a real worker together."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from redis_optimizer.embedded import EmbeddedServer
from redis_optimizer.management.benchmark.wire import Counts, Wire
from tests.servers import wait_until
from tests.tasks.processes import Site
from tests.tasks.site import runs

JOBS = 400
SEND = """
from tests.tasks.site.budget import {task}
for number in range({jobs}):
    {task}.delay(number)
"""
SEND_IN_BLOCK = """
from redis_optimizer.tasks import batch
from tests.tasks.site.budget import {task}
with batch():
    for number in range({jobs}):
        {task}.delay(number)
"""


class Counted:
    """A site with one worker that is connected, on a server whose clients are counted."""

    def __init__(self, site: Site, wire: Wire) -> None:
        self.site = site
        self.wire = wire
        self.done = 0

    def per_job(self, task: str) -> float:
        """Return the commands for each job, until it is done and acknowledged.

        What a process sends because it starts is in both of two runs, and falls out.
        """
        few, many = (sum(self.run(task, jobs=jobs).commands.values()) for jobs in (JOBS // 4, JOBS))
        return (many - few) / (JOBS - JOBS // 4)

    def run(self, task: str, code: str = SEND, jobs: int = JOBS) -> Counts:
        """Send jobs, wait for them and return what was sent."""
        self.wire.restart()
        self.site.produce(code.format(task=task, jobs=jobs))
        self.done += jobs
        wait_until(lambda: len(runs.counts(self.site.runs)) == self.done, 60)
        wait_until(lambda: self._is_quiet(), 20)
        return self.wire.counts()

    def _is_quiet(self) -> bool:
        return self.wire._client.hlen("unacked") == 0


@pytest.fixture(scope="module")
def counted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Counted]:
    directory: Path = tmp_path_factory.mktemp("counted")
    with EmbeddedServer() as server:
        settings: dict[str, Any] = {"PROFILE": "metered", "REDIS_OPTIMIZER": {"ENVELOPES": True}}
        site = Site(directory, server.port, tasks=["tests.tasks.site.budget"], settings=settings)
        with site.worker("-c", "2"), Wire(server.url) as wire:
            counted = Counted(site, wire)
            for task in ("ignored", "kept", "together", "plain", "plain_ignored"):
                counted.run(task, jobs=4)  # connects, loads the scripts
            yield counted


def test_jobs_in_batches(counted: Counted) -> None:
    assert counted.per_job("ignored") <= 0.15


def test_jobs_in_batches_whose_results_are_kept(counted: Counted) -> None:
    assert counted.per_job("kept") <= 1.2


def test_jobs_in_bulk_whose_results_are_kept(counted: Counted) -> None:
    assert counted.per_job("together") <= 0.3


def test_a_plain_job_whose_result_is_kept(counted: Counted) -> None:
    assert counted.per_job("plain") <= 11


def test_the_producer_of_plain_jobs_in_a_block(counted: Counted) -> None:
    sent = counted.run("plain_ignored", SEND_IN_BLOCK, jobs=300)
    assert sent.commands["LPUSH"] / 300 <= 0.02
    assert sent.commands["BRPOP"] >= 300  # each is a message of its own to the worker
