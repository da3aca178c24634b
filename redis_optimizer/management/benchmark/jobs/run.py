"""All cases, on both sides."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from typing import Any, TextIO, TypeVar

from redis_optimizer.management.benchmark.jobs import states, traffic
from redis_optimizer.management.benchmark.jobs.processes import CeleryWorker
from redis_optimizer.management.benchmark.jobs.report import (
    BLOCKS,
    DUPLICATES,
    Figures,
    Report,
)
from redis_optimizer.management.benchmark.jobs.site import OURS, PLAIN, WORKER, Side, Site
from redis_optimizer.management.benchmark.progress import show_progress
from redis_optimizer.management.benchmark.server import CommandCounter

RUNS = 1000  # of one task, before its stored results are counted

BALANCED = Side("balanced", plain=False)
QUIET = Side("metered", plain=False, profile="metered")
QUIETEST = Side("metered, no remote control", plain=False, profile="metered_no_remote_control")

Note = Callable[[int], None]
T = TypeVar("T")


@dataclass(frozen=True)
class Traffic:
    """Jobs that go through a worker.

    Args:
        title: in the report.
        plain, ours: the task on either side.
        timed: whether jobs per second are of interest.
    """

    title: str
    plain: str
    ours: str
    timed: bool = False


TRAFFIC = {
    "ignored": (
        Traffic("results ignored, in batches", "ignored", "ignored", timed=True),
        Traffic("results ignored, bulk", "ignored", "bulk-ignored", timed=True),
    ),
    "kept": (
        Traffic("results kept, in batches", "kept", "kept"),
        Traffic("results kept, bulk", "kept", "bulk-kept"),
    ),
    "single": (
        Traffic("one by one, results ignored", "ignored", "single-ignored"),
        Traffic("one by one, results kept", "kept", "single-kept"),
    ),
}
CASES = (*TRAFFIC, "blocks", "duplicates", "results", "web", "stop", "idle")


@dataclass(frozen=True)
class Setup:
    """What is measured.

    Args:
        jobs: in each case.
        batch_size: jobs in one envelope, and calls in one `batch()`.
        concurrency: children of a worker.
        threads: of the web process.
        idle_seconds: how long an idle worker is watched.
        cases: of CASES.
    """

    jobs: int
    batch_size: int
    concurrency: int
    threads: int
    idle_seconds: float
    cases: Sequence[str]


class Benchmark:
    """Sends the same jobs through plain Celery and through this package.

    Args:
        setup: what is measured.
        stream: where progress goes; None shows none.
    """

    def __init__(self, setup: Setup, stream: TextIO | None) -> None:
        self.setup, self.stream = setup, stream
        self.server = ""

    def run(self) -> Report:
        """Run every case on both sides, one after the other.

        Raises:
            WorkerError: a process failed.
            redis.RedisError: a server could not be reached.
            ServerNotFound, ServerNotStarted: there is no server, or it does not start.
        """
        plain, ours = self.run_side(PLAIN), self.run_side(OURS)
        idle: dict[str, states.Idle] = {}
        if "idle" in self.setup.cases:
            sides = (PLAIN, BALANCED, QUIET, QUIETEST)
            watch = partial(
                states.watch_idle, sides, self.setup.concurrency, self.setup.idle_seconds
            )
            seconds = max(round(self.setup.idle_seconds), 1)
            found = self.show("all sides: idle workers", seconds, watch, unit="seconds")
            idle = dict(zip((side.name for side in sides), found, strict=True))
        return Report(self.describe(), plain, ours, idle)

    def run_side(self, side: Side) -> Figures:
        """Return what was measured on one side, by title."""
        setup, found = self.setup, Figures()
        with Site(side, batch_size=setup.batch_size, concurrency=setup.concurrency) as site:
            self.server = CommandCounter(site.client).describe()
            if {*setup.cases} - {"stop", "idle"}:
                with ExitStack() as stack:
                    with site.wire() as wire:
                        worker = stack.enter_context(site.worker())
                        found.start_up = wire.counts().by_user().get(WORKER, Counter())
                    self.run_traffic(site, worker, found)
                    self.run_others(site, worker, found)
            if "stop" in setup.cases:
                jobs = setup.batch_size
                found.stop = self.show(
                    f"{side.name}: a stop", jobs, partial(states.stop_amid_jobs, site, jobs)
                )
        return found

    def run_traffic(self, site: Site, worker: CeleryWorker, found: Figures) -> None:
        """Send the jobs of every chosen case through the worker."""
        jobs = self.setup.jobs
        done: dict[str, traffic.Sent] = {}  # a plain site has no bulk tasks, so they are the same
        for each in (each for case in self.setup.cases for each in TRAFFIC.get(case, ())):
            task = each.plain if site.side.plain else each.ours
            if task not in done:
                done[task] = self.show(
                    f"{site.side.name}: {each.title}",
                    2 * jobs if each.timed else jobs,
                    partial(traffic.run_jobs, site, worker, task, jobs, timed=each.timed),
                )
            found.sent[each.title] = done[task]

    def run_others(self, site: Site, worker: CeleryWorker, found: Figures) -> None:
        """Measure what needs a worker, or none, but no jobs through it."""
        setup, name = self.setup, site.side.name
        if "blocks" in setup.cases:
            found.sent[BLOCKS] = self.show(
                f"{name}: {BLOCKS}",
                setup.jobs,
                partial(traffic.send_in_blocks, site, worker, "single-ignored", setup.jobs),
            )
        if "duplicates" in setup.cases:
            for title, task in DUPLICATES.items():
                found.sent[title] = traffic.send_duplicates(site, task, setup.batch_size)
        if "results" in setup.cases:
            runs = min(RUNS, setup.jobs)
            found.results = self.show(
                f"{name}: stored results", runs, partial(states.count_kept, site, worker, runs)
            )
        if "web" in setup.cases:
            found.web = states.count_web_connections(site, setup.threads)

    def show(self, title: str, total: int, measure: Callable[[Note], T], unit: str = "jobs") -> T:
        """Measure something and show how far it is."""
        with show_progress(title, total, self.stream, unit) as note:
            return measure(note)

    def describe(self) -> dict[str, Any]:
        """Return what was measured, and on what."""
        versions = {name: version(name) for name in ("celery", "kombu", "redis", "django")}
        return {
            "jobs": self.setup.jobs,
            "batch_size": self.setup.batch_size,
            "concurrency": self.setup.concurrency,
            "threads": self.setup.threads,
            "idle_seconds": self.setup.idle_seconds,
            "runs": min(RUNS, self.setup.jobs),
            "server": self.server,
            "python": platform.python_version(),
            "versions": versions,
        }
