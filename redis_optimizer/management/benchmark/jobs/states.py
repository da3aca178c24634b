"""What sites look like between jobs and at the end: connections, idle workers, stops, results."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from redis_optimizer.management.benchmark.jobs.order import SECONDS
from redis_optimizer.management.benchmark.jobs.processes import CeleryWorker
from redis_optimizer.management.benchmark.jobs.site import PRODUCER, WORKER, Side, Site
from redis_optimizer.management.benchmark.jobs.traffic import warm_up

GRACE = 60  # seconds that a result which is not kept stays; a plain result stays for a day
SETTLE = 2.0  # seconds for a worker that takes jobs to have said all that it says at its start
STEP = 1.0
MINUTE = 60.0

Note = Callable[[int], None]


@dataclass(frozen=True)
class Idle:
    """A worker with nothing to do.

    Args:
        commands: it sent in that time, by name.
        seconds: how long it was watched.
        connections: it held.
        start_up: commands it sent until it was watched, by name.
        stopped: seconds from SIGTERM until it had ended.
    """

    commands: Counter[str]
    seconds: float
    connections: int
    start_up: Counter[str]
    stopped: float

    @property
    def per_minute(self) -> float:
        """Return the commands per minute."""
        return self.commands.total() * MINUTE / self.seconds

    def as_dict(self) -> dict[str, Any]:
        """Return the figures for `json.dumps`."""
        return {
            "commands_per_minute": round(self.per_minute, 2),
            "commands": dict(self.commands.most_common()),
            "seconds": round(self.seconds, 1),
            "connections": self.connections,
            "start_up": dict(self.start_up.most_common()),
            "seconds_to_stop": round(self.stopped, 2),
        }


@dataclass(frozen=True)
class Stop:
    """A worker that was told to stop with an envelope of long jobs.

    Args:
        seconds: from SIGTERM until it had ended.
        unacknowledged: messages that nobody would have taken for an hour.
        missing: jobs that did not run, there or in the next worker.
        twice: runs too many.
    """

    seconds: float
    unacknowledged: int
    missing: int
    twice: int

    def as_dict(self) -> dict[str, Any]:
        """Return the figures for `json.dumps`."""
        return {
            "seconds_to_stop": round(self.seconds, 2),
            "unacknowledged": self.unacknowledged,
            "jobs_missing": self.missing,
            "jobs_run_twice": self.twice,
        }


def watch_idle(sides: Sequence[Side], concurrency: int, seconds: float, note: Note) -> list[Idle]:
    """Watch an idle worker of each side at the same time, each on a server of its own."""
    with ExitStack() as stack:
        sites = [
            stack.enter_context(Site(side, batch_size=1, concurrency=concurrency)) for side in sides
        ]
        wires = [stack.enter_context(site.wire()) for site in sites]
        workers = [stack.enter_context(site.worker()) for site in sites]
        time.sleep(SETTLE)
        start_ups = [wire.counts().by_user().get(WORKER, Counter()) for wire in wires]
        for wire in wires:
            wire.restart()
        started = time.monotonic()
        while (passed := time.monotonic() - started) < seconds:
            note(round(passed))
            time.sleep(min(STEP, seconds - passed))
        counts = [wire.counts() for wire in wires]
        watched = time.monotonic() - started
        connections = [site.connections(WORKER) for site in sites]
        stops = [worker.stop() for worker in workers]
    return [
        Idle(count.commands, watched, held, start_up, stopped)
        for count, held, start_up, stopped in zip(
            counts, connections, start_ups, stops, strict=True
        )
    ]


def count_web_connections(site: Site, threads: int) -> int:
    """Return how many connections a process has whose threads cache, send and read results."""
    with site.producer() as producer:
        producer.send("web", tasks=["kept", "single-kept"], threads=threads)
        return site.connections(PRODUCER)


def stop_amid_jobs(site: Site, jobs: int, note: Note) -> Stop:
    """Stop a worker that has just begun with long jobs, and let another one run the rest."""
    site.ledger.clear()
    with site.worker() as worker, site.producer() as producer:
        warm_up(site, worker, producer, "ignored")
        producer.send("calls", task="slow", numbers=list(range(jobs)))
        while not len(site.ledger):
            worker.check()
            time.sleep(STEP / 100)
        # Amid the next: a signal that meets the end of a job makes billiard wait for half a minute.
        time.sleep(SECONDS / 2)
        seconds = worker.stop()
        unacknowledged = site.unfinished()
    with site.worker("--pool", "threads", concurrency=jobs) as worker:
        runs = Counter(run.number for run in site.wait_ran(jobs, worker, note))
    return Stop(
        seconds=seconds,
        unacknowledged=unacknowledged,
        missing=jobs - len(runs),
        twice=runs.total() - len(runs),
    )


def count_kept(site: Site, worker: CeleryWorker, runs: int, note: Note) -> int:
    """Run a task so often, and return how many results outlive the grace time."""
    with site.producer() as producer:
        for key in site.client.scan_iter("celery-task-meta-*", count=1000):
            site.client.delete(key)
        site.ledger.clear()
        producer.send("calls", task="sometimes", numbers=list(range(runs)))
        site.wait_ran(runs, worker, note)
    keys = list(site.client.scan_iter("celery-task-meta-*", count=1000))
    pipeline = site.client.pipeline(transaction=False)
    for key in keys:
        pipeline.ttl(key)
    return sum(not 0 <= seconds <= GRACE for seconds in pipeline.execute())
