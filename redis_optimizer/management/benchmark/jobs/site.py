"""One site: a server of its own, its workers and producers, and what the server says of them."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Self

import redis

from redis_optimizer.embedded import HOST, EmbeddedServer
from redis_optimizer.management.benchmark.child import WorkerError
from redis_optimizer.management.benchmark.jobs.ledger import Ledger, Run
from redis_optimizer.management.benchmark.jobs.order import Order
from redis_optimizer.management.benchmark.jobs.processes import CeleryWorker, Producer
from redis_optimizer.management.benchmark.wire import Wire

PRODUCER, WORKER = "producer", "worker"  # users of the server: they tell who sent what
STALL = 60.0  # seconds without a job that runs before a case is given up
POLL = 0.02


@dataclass(frozen=True)
class Side:
    """What is compared.

    Args:
        name: in the report.
        plain: Celery as it comes.
        profile: of `celery_settings`; without effect on a plain site.
    """

    name: str
    plain: bool
    profile: str = "balanced"


PLAIN = Side("Celery", plain=True)
OURS = Side("redis_optimizer", plain=False)


class Site:
    """A context manager that leaves no process and no file behind.

    Args:
        side: which of the two.
        batch_size: jobs in one envelope.
        concurrency: children of a worker.
    """

    def __init__(self, side: Side, *, batch_size: int, concurrency: int) -> None:
        self.side, self.batch_size, self.concurrency = side, batch_size, concurrency
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="benchmark-"))
            self.server = stack.enter_context(EmbeddedServer())
            self.client = stack.enter_context(
                redis.Redis.from_url(self.server.url, decode_responses=True)
            )
            for user in (PRODUCER, WORKER):
                self.client.acl_setuser(
                    user,
                    enabled=True,
                    nopass=True,
                    keys=["*"],
                    channels=["*"],
                    commands=["+@all"],
                )
            self._order = Order(
                url="",
                directory=directory,
                plain=self.side.plain,
                profile=self.side.profile,
                batch_size=self.batch_size,
            )
            self.ledger = Ledger(self._order.ledger)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stack.close()

    def producer(self) -> Producer:
        """Return a producer."""
        return Producer(self.order_of(PRODUCER))

    def worker(self, *flags: str, concurrency: int | None = None) -> CeleryWorker:
        """Return a worker, with flags for `celery worker`."""
        count = ("--concurrency", str(concurrency or self.concurrency))
        return CeleryWorker(self.order_of(WORKER), [*count, "--loglevel", "ERROR", *flags])

    def wire(self) -> Wire:
        """Return a counter of what the site sends."""
        return Wire(self.server.url)

    def wait_ran(self, jobs: int, worker: CeleryWorker, note: Callable[[int], None]) -> list[Run]:
        """Wait until so many jobs ran and nothing is left to acknowledge; return all runs.

        Raises:
            WorkerError: the worker ended, or nothing went on for a minute.
        """
        seen, moved = -1, time.monotonic()
        while (ran := len(self.ledger)) < jobs or self.unfinished():
            worker.check()
            if ran != seen:
                seen, moved = ran, time.monotonic()
                note(min(ran, jobs))
            elif time.monotonic() - moved > STALL:
                raise WorkerError(f"{ran} of {jobs} jobs ran, and nothing goes on. {worker.tail()}")
            time.sleep(POLL)
        note(jobs)
        return self.ledger.read()

    def unfinished(self) -> int:
        """Return how many messages were taken but not acknowledged."""
        return int(self.client.hlen("unacked"))

    def connections(self, user: str) -> int:
        """Return how many connections a user has open."""
        return sum(each["user"] == user for each in self.client.client_list())

    def order_of(self, user: str) -> Order:
        """Return what a process is told that is to be counted as PRODUCER or as WORKER."""
        return replace(self._order, url=f"redis://{user}:any@{HOST}:{self.server.port}/0")
