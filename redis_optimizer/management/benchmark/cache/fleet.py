"""The worker processes of one run, led through it in step."""

from __future__ import annotations

import queue
from collections.abc import Callable, Sequence
from typing import Any, Self

from redis_optimizer.management.benchmark.cache.worker import Order
from redis_optimizer.management.benchmark.child import Child, Inbox, WorkerError

WORKER = "redis_optimizer.management.benchmark.cache.worker"
SILENCE = 60.0  # seconds without a word from any worker before a run is given up


class Worker(Child):
    """One process of the run."""

    def __init__(self, inbox: Inbox) -> None:
        super().__init__(WORKER, inbox)
        self.done = 0
        self.answer: dict[str, Any] = {}


class Fleet:
    """All workers of one run; a context manager that leaves no process behind.

    Args:
        orders: what each worker has to do.
        on_progress: called with the number of requests done by all workers together.
    """

    def __init__(self, orders: Sequence[Order], on_progress: Callable[[int], None]) -> None:
        self._inbox: Inbox = queue.SimpleQueue()
        self._on_progress = on_progress
        self.workers: list[Worker] = []
        try:
            for order in orders:
                worker = Worker(self._inbox)
                self.workers.append(worker)
                worker.tell(order)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def connect(self) -> str:
        """Wait until every worker is connected; return what one of them had to note, if any."""
        return max(str(message["note"]) for message in self._gather("note"))

    def run(self) -> list[dict[str, Any]]:
        """Let the workers replay their requests, and return what each of them saw."""
        for worker in self.workers:
            worker.tell("go")
        return [message["result"] for message in self._gather("result")]

    def close(self) -> None:
        """End every worker."""
        for worker in self.workers:
            worker.stop()

    def _gather(self, wanted: str) -> list[dict[str, Any]]:
        """Return the first message of each worker that holds `wanted`."""
        waiting = set(self.workers)
        while waiting:
            try:
                child, message = self._inbox.get(timeout=SILENCE)
            except queue.Empty:
                raise WorkerError(f"No worker answered within {SILENCE:.0f} s") from None
            worker = next(each for each in self.workers if each is child)
            if message is None:
                raise WorkerError(f"A worker ended early: {worker.complaint()}")
            if "done" in message:
                worker.done = message["done"]
                self._on_progress(sum(each.done for each in self.workers))
            if wanted in message:
                worker.answer = message
                waiting.discard(worker)
        return [worker.answer for worker in self.workers]
