"""Jobs from a producer through a worker: what each side sends for one, and how many a second."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from redis_optimizer.management.benchmark.jobs.ledger import Run
from redis_optimizer.management.benchmark.jobs.processes import CeleryWorker, Producer
from redis_optimizer.management.benchmark.jobs.site import PRODUCER, WORKER, Site
from redis_optimizer.management.benchmark.wire import Counts

UNTAKEN = "untaken"  # a queue that no worker consumes

Note = Callable[[int], None]


@dataclass(frozen=True)
class Sent:
    """What one side sent while `jobs` jobs went through it.

    Args:
        jobs: how many.
        producer, worker: commands by name.
        other: administrative commands, of which the server does not show who sent them.
        round_trips: of both.
        start_up: what the producer sent before, to connect and for its first jobs.
        sending: seconds for the calls alone, in a run that was not counted.
        running: seconds for a worker that then began until the last job had run.
        missing, twice: jobs that did not run, and runs too many, in both runs.
        queued: messages that were in the queue at the end, where nobody took any.
    """

    jobs: int
    producer: Counter[str]
    worker: Counter[str]
    other: Counter[str]
    round_trips: int
    start_up: Counter[str]
    sending: float = 0.0
    running: float = 0.0
    missing: int = 0
    twice: int = 0
    queued: int = 0

    @property
    def per_job(self) -> float:
        """Return the commands for one job."""
        return (self.producer + self.worker + self.other).total() / self.jobs

    @property
    def rates(self) -> tuple[float, float] | None:
        """Return the jobs sent and run per second; None when nobody took the time."""
        if not self.sending or not self.running:
            return None
        return self.jobs / self.sending, self.jobs / self.running

    def as_dict(self) -> dict[str, Any]:
        """Return the figures for `json.dumps`."""

        def scale(counts: Counter[str]) -> dict[str, float]:
            return {name: round(n / self.jobs, 4) for name, n in counts.most_common()}

        return {
            "jobs": self.jobs,
            "commands_per_job": round(self.per_job, 4),
            "producer_commands_per_job": round(self.producer.total() / self.jobs, 4),
            "worker_commands_per_job": round(self.worker.total() / self.jobs, 4),
            "round_trips_per_job": round(self.round_trips / self.jobs, 4),
            "producer": scale(self.producer),
            "worker": scale(self.worker),
            "other": scale(self.other),
            "producer_start_up": dict(self.start_up.most_common()),
            "jobs_sent_per_second": self.rates and round(self.rates[0], 1),
            "jobs_run_per_second": self.rates and round(self.rates[1], 1),
            "jobs_missing": self.missing,
            "jobs_run_twice": self.twice,
            "jobs_queued": self.queued,
        }


def run_jobs(
    site: Site, worker: CeleryWorker, task: str, jobs: int, note: Note, *, timed: bool
) -> Sent:
    """Send jobs of a task through a worker, twice: once to count commands, once for the time.

    Args:
        timed: whether to send them the second time, when MONITOR slows nobody down. The worker
            begins when all are sent, so that neither side waits for the other.
    """
    runs: list[Run] = []
    with site.producer() as producer:
        with site.wire() as wire:
            warm_up(site, worker, producer, task)
            start_up = wire.counts().by_user().get(PRODUCER, Counter())
            wire.restart()
            producer.send("calls", task=task, numbers=list(range(jobs)))
            runs += site.wait_ran(jobs, worker, note)
            counts = wire.counts()
        if not timed:
            return make_sent(counts, jobs, start_up, runs)
        site.ledger.clear()
        with worker.paused():
            began, ended = producer.send("calls", task=task, numbers=list(range(jobs)))
            resumed = time.monotonic()
        second = site.wait_ran(jobs, worker, lambda done: note(jobs + done))
    return replace(
        make_sent(counts, jobs, start_up, runs + second, rounds=2),
        sending=ended - began,
        running=max(run.at for run in second) - resumed,
    )


def send_in_blocks(site: Site, worker: CeleryWorker, task: str, jobs: int, note: Note) -> Sent:
    """Send ordinary jobs in blocks of `batch()`; on a plain site there is no such block."""
    numbers = list(range(jobs))
    with site.producer() as producer, site.wire() as wire:
        warm_up(site, worker, producer, task)
        start_up = wire.counts().by_user().get(PRODUCER, Counter())
        wire.restart()
        if site.side.plain:
            producer.send("calls", task=task, numbers=numbers)
        else:
            producer.send("blocks", task=task, numbers=numbers, size=site.batch_size)
        runs = site.wait_ran(jobs, worker, note)
        counts = wire.counts()
    return make_sent(counts, jobs, start_up, runs)


def send_duplicates(site: Site, task: str, jobs: int) -> Sent:
    """Send a job and then so many duplicates of it, which nobody takes."""
    with site.producer() as producer, site.wire() as wire:
        producer.send("calls", task=task, numbers=[0], queue=UNTAKEN)
        start_up = wire.counts().by_user().get(PRODUCER, Counter())
        before = site.client.llen(UNTAKEN)
        wire.restart()
        producer.send("calls", task=task, numbers=[0] * jobs, queue=UNTAKEN)
        counts = wire.counts()
        queued = site.client.llen(UNTAKEN) - before
    return replace(make_sent(counts, jobs, start_up, None), queued=queued)


def warm_up(site: Site, worker: CeleryWorker, producer: Producer, task: str) -> None:
    """Let a producer and the worker's children connect, and learn of each other."""
    site.ledger.clear()
    producer.send("calls", task=task, numbers=list(range(site.batch_size)))
    site.wait_ran(site.batch_size, worker, lambda done: None)
    site.ledger.clear()


def make_sent(
    counts: Counts,
    jobs: int,
    start_up: Counter[str],
    runs: list[Run] | None,
    rounds: int = 1,
) -> Sent:
    """Return the figures of one case.

    Args:
        runs: of its jobs; None where no job was to run.
        rounds: how often each job was sent.
    """
    by_user = counts.by_user()
    shown: Counter[str] = Counter()
    for commands in by_user.values():
        shown.update(commands)
    ours = by_user.get("default", Counter())  # what asks for the progress
    times = Counter(run.number for run in runs or ())
    return Sent(
        jobs=jobs,
        producer=by_user.get(PRODUCER, Counter()),
        worker=by_user.get(WORKER, Counter()),
        other=counts.commands - shown,
        round_trips=counts.reads - ours.total(),
        start_up=start_up,
        missing=0 if runs is None else rounds * jobs - sum(min(n, rounds) for n in times.values()),
        twice=sum(max(n - rounds, 0) for n in times.values()),
    )
