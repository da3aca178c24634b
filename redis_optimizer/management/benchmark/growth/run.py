"""Measure the same at growing sizes."""

from __future__ import annotations

import os
import platform
import queue
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Final, TextIO

import redis

from redis_optimizer.embedded import EmbeddedServer
from redis_optimizer.management.benchmark.cache.command import KEYS, ZIPF
from redis_optimizer.management.benchmark.cache.plan import make_plan
from redis_optimizer.management.benchmark.cache.run import Benchmark as CacheBenchmark
from redis_optimizer.management.benchmark.cache.run import Setup as CacheSetup
from redis_optimizer.management.benchmark.cache.trace import draw_trace
from redis_optimizer.management.benchmark.child import Child, Inbox, WorkerError
from redis_optimizer.management.benchmark.growth.report import Curve, Report
from redis_optimizer.management.benchmark.progress import show_progress
from redis_optimizer.management.benchmark.server import CommandCounter

__all__ = ["CASES", "Benchmark", "Setup"]

WORKER: Final = "redis_optimizer.management.benchmark.growth.worker"
PATIENCE: Final = 300.0  # seconds for a process to have done what it was told
WRITES, SEED, VALUE_SIZE, L1 = 2.0, 1, 400, 10.0  # as `redis_optimizer_benchmark cache` has them


@dataclass(frozen=True)
class Setup:
    """How far each grows.

    Args:
        processes: at most.
        requests: of each process.
        keys: in L1, at most.
        jobs: that are sent, at most.
        cases: of CASES.
    """

    processes: int
    requests: int
    keys: int
    jobs: int
    cases: Sequence[str]


class Benchmark:
    """Measures each case at growing sizes.

    Args:
        setup: how far.
        stream: where progress goes; None shows none.
    """

    def __init__(self, setup: Setup, stream: TextIO | None) -> None:
        self._setup, self._stream = setup, stream

    def run(self) -> Report:
        """Run every case.

        Raises:
            WorkerError: a process failed.
            redis.RedisError: a server could not be reached.
            ServerNotFound, ServerNotStarted: there is no server, or it does not start.
        """
        with EmbeddedServer() as server, redis.Redis.from_url(server.url) as client:
            self._url, self._client = server.url, client
            curves = [CASES[case](self) for case in self._setup.cases]
            described = CommandCounter(client).describe()
        setting = {
            "server": described,
            "python": platform.python_version(),
            "cores": os.cpu_count(),
        }
        return Report(setting, curves)

    def fleets(self) -> Curve:
        """Let more and more processes make as many requests each."""
        requests = self._setup.requests

        def measure(processes: int) -> Mapping[str, float]:
            trace = draw_trace(keys=KEYS, exponent=ZIPF, requests=requests * processes, seed=SEED)
            plan = make_plan(trace, processes=processes, writes=WRITES, seed=SEED, preloaded=True)
            setup = CacheSetup(
                url=self._url,
                trace="",
                writes_percent=WRITES,
                l1_percent=L1,
                threads=1,
                value_size=VALUE_SIZE,
                seed=SEED,
                preload=True,
                exact_ttl=["auto"],
            )
            plain, ours = CacheBenchmark(plan, setup, None).run().rows
            return {"TieredCache": ours.per_thousand, "django-redis": plain.per_thousand}

        return self._curve(
            "Commands by processes",
            "processes",
            "commands for 1,000 requests",
            f"stay the same while each process makes {requests:,} requests",
            _grow(1, 2, self._setup.processes),
            measure,
        )

    def hits(self) -> Curve:
        """Fill L1 with more and more keys, and read those that are there.

        What is read all the time is in the processor's cache, however much there is besides. Keys
        drawn from all are not, and each read waits for memory, as that of a dict does.
        """
        return self._curve(
            "A hit by keys in L1",
            "keys",
            "microseconds",
            "stay the same for those that are read all the time, and grow with a dict's otherwise",
            _grow(1000, 10, self._setup.keys),
            lambda keys: self._ask({"case": "hits", "keys": keys}),
        )

    def jobs(self) -> Curve:
        """Send more and more jobs."""
        return self._curve(
            "Sending a job by jobs",
            "jobs",
            "microseconds for a job",
            "stay the same, and be higher for a few: a message that is not full costs as much",
            _grow(1, 10, self._setup.jobs),
            lambda jobs: self._ask({"case": "jobs", "jobs": jobs}),
        )

    def questions(self) -> Curve:
        """Ask more and more processes what they counted."""

        def measure(processes: int) -> Mapping[str, float]:
            with ExitStack() as stack:
                inbox: Inbox = queue.SimpleQueue()
                for _ in range(processes):
                    child = stack.enter_context(_ended(Child(WORKER, inbox)))
                    child.tell({"case": "hold", "url": self._url})
                for _ in range(processes):
                    _answer(inbox)
                counter = CommandCounter(self._client)
                asker = stack.enter_context(_ended(Child(WORKER, inbox)))
                asker.tell({"case": "ask", "url": self._url})
                _answer(inbox)  # connected, as a web process is
                counter.lap()
                asker.tell("go")
                answer = _answer(inbox)
                sent = counter.lap()
            if answer["answered"] != processes:
                raise WorkerError(f"{answer['answered']} of {processes} processes answered.")
            return {"commands": float(sent.total()), "milliseconds": answer["seconds"] * 1e3}

        return self._curve(
            "Asking all processes",
            "processes",
            "commands, and milliseconds",
            "grow with the processes",
            _grow(1, 2, self._setup.processes),
            measure,
        )

    def _curve(
        self,
        title: str,
        axis: str,
        unit: str,
        expected: str,
        sizes: Sequence[int],
        measure: Callable[[int], Mapping[str, float]],
    ) -> Curve:
        points = {}
        with show_progress(title, len(sizes), self._stream, "sizes") as progress:
            for done, size in enumerate(sizes, 1):
                points[size] = measure(size)
                self._client.flushall()
                progress(done)
        return Curve(title, axis, unit, expected, points)

    def _ask(self, order: dict[str, Any]) -> Mapping[str, float]:
        inbox: Inbox = queue.SimpleQueue()
        with _ended(Child(WORKER, inbox)) as child:
            child.tell({"url": self._url, **order})
            values: dict[str, float] = _answer(inbox)["values"]
        return values


CASES: Final[Mapping[str, Callable[[Benchmark], Curve]]] = {
    "processes": Benchmark.fleets,
    "keys": Benchmark.hits,
    "jobs": Benchmark.jobs,
    "gather": Benchmark.questions,
}


@contextmanager
def _ended(child: Child) -> Iterator[Child]:
    try:
        yield child
    finally:
        child.stop()


def _answer(inbox: Inbox) -> dict[str, Any]:
    try:
        child, message = inbox.get(timeout=PATIENCE)
    except queue.Empty:
        raise WorkerError(f"A process did not answer within {PATIENCE:g} s.") from None
    if message is None:
        raise WorkerError(child.complaint() or "A process ended too early.")
    return message


def _grow(least: int, factor: int, most: int) -> list[int]:
    """Return the least, `factor` times as many and so on, and the most."""
    sizes = [least]
    while sizes[-1] * factor < most:
        sizes.append(sizes[-1] * factor)
    return sizes if most == least else [*sizes, most]
