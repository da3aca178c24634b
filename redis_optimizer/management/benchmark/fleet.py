"""The worker processes of one run, led through it in step."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import IO, Any, Self, TypeAlias, cast

from redis_optimizer.management.benchmark.worker import Order

WORKER = "redis_optimizer.management.benchmark.worker"
SILENCE = 60.0  # seconds without a word from any worker before a run is given up
ENDING = 5.0  # seconds for a worker to end by itself


Inbox: TypeAlias = "queue.SimpleQueue[tuple[Worker, dict[str, Any] | None]]"


class WorkerError(Exception):
    """A worker failed; the message holds the end of what it wrote to stderr."""


class Worker:
    """One process; what it says arrives in the fleet's queue as (worker, message)."""

    def __init__(self, inbox: Inbox) -> None:
        self.done = 0
        self.answer: dict[str, Any] = {}
        self._errors = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115 - see stop()
        # The parent's import path, for a package that is not installed but lies beside manage.py.
        path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
        self._process = subprocess.Popen(
            [sys.executable, "-m", WORKER],
            env={**os.environ, "PYTHONPATH": path},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )
        self._stdin = cast("IO[str]", self._process.stdin)
        self._stdout = cast("IO[str]", self._process.stdout)
        self._listener = threading.Thread(target=self._listen, args=(inbox,), daemon=True)
        self._listener.start()

    def _listen(self, inbox: Inbox) -> None:
        for line in self._stdout:
            inbox.put((self, json.loads(line)))
        inbox.put((self, None))

    def tell(self, line: str) -> None:
        """Write one line to the worker; one that has ended is noticed by its silence."""
        with suppress(BrokenPipeError):
            self._stdin.write(line + "\n")
            self._stdin.flush()

    def complaint(self) -> str:
        """Return the last lines that the worker wrote to stderr."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(ENDING)
        self._errors.seek(0)
        return "\n".join(self._errors.read().strip().splitlines()[-5:])

    def stop(self) -> None:
        """End the process, by force if it does not end by itself."""
        with suppress(BrokenPipeError):
            self._stdin.close()
        try:
            self._process.wait(ENDING)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._listener.join()
        self._stdout.close()
        self._errors.close()


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
                worker.tell(json.dumps(order))
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
                worker, message = self._inbox.get(timeout=SILENCE)
            except queue.Empty:
                raise WorkerError(f"No worker answered within {SILENCE:.0f} s") from None
            if message is None:
                raise WorkerError(f"A worker ended early: {worker.complaint()}")
            if "done" in message:
                worker.done = message["done"]
                self._on_progress(sum(each.done for each in self.workers))
            if wanted in message:
                worker.answer = message
                waiting.discard(worker)
        return [worker.answer for worker in self.workers]
