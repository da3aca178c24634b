"""The processes of a site: Celery workers, and producers that are told what to send."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

from redis_optimizer.management.benchmark.child import (
    Child,
    Inbox,
    WorkerError,
    child_environment,
)
from redis_optimizer.management.benchmark.jobs.order import Order

PRODUCER = "redis_optimizer.management.benchmark.jobs.producer"
APP = "redis_optimizer.management.benchmark.jobs.app"
START = 60.0  # seconds for a worker to take jobs
STOP = 60.0  # seconds for a worker to end when it is told to
ANSWER = 300.0  # seconds for a producer to have sent everything
POLL = 0.02


class Producer:
    """One producer; a context manager that ends it.

    Args:
        order: its site's.
    """

    def __init__(self, order: Order) -> None:
        self._inbox: Inbox = queue.SimpleQueue()
        self._child = Child(PRODUCER, self._inbox, order.environment())

    def __enter__(self) -> Self:
        self._listen()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._child.stop()

    def send(self, how: str, **what: Any) -> tuple[float, float]:
        """Let it send jobs; return when it began and ended, in seconds of the machine's clock."""
        self._child.tell({"how": how, **what})
        answer = self._listen()
        return answer["started"], answer["ended"]

    def _listen(self) -> dict[str, Any]:
        try:
            _, message = self._inbox.get(timeout=ANSWER)
        except queue.Empty:
            raise WorkerError(f"A producer did not answer within {ANSWER:.0f} s") from None
        if message is None:
            raise WorkerError(f"A producer ended early: {self._child.complaint()}")
        return message


class CeleryWorker:
    """One worker with its children, in a process group of its own; a context manager that ends it.

    Args:
        order: its site's.
        flags: for `celery worker`.
    """

    def __init__(self, order: Order, flags: Sequence[str]) -> None:
        self._order, self._flags = order, flags
        self._log = Path(order.directory, "worker.log")

    def __enter__(self) -> Self:
        self._order.ready.unlink(missing_ok=True)
        environment: Mapping[str, str] = child_environment() | self._order.environment()
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "celery", "-A", APP, "worker", *self._flags],
                env=environment,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = time.monotonic() + START
        try:
            while not self._order.ready.exists():
                self.check()
                if time.monotonic() > deadline:
                    raise WorkerError(f"A worker was not ready within {START:.0f} s")
                time.sleep(POLL)
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._process.poll() is None:
            with suppress(subprocess.TimeoutExpired):
                self.stop()
        self.kill()

    def check(self) -> None:
        """Raise WorkerError when it has ended; the message holds the end of its log."""
        if self._process.poll() is not None:
            raise WorkerError(f"A worker ended early: {self.tail()}")

    def tail(self) -> str:
        """Return the end of its log."""
        return "\n".join(self._log.read_text(errors="replace").strip().splitlines()[-5:])

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Keep it and its children from running while the block runs."""
        os.killpg(self._process.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.killpg(self._process.pid, signal.SIGCONT)

    def stop(self) -> float:
        """Tell it to stop; return how many seconds it took.

        Raises:
            subprocess.TimeoutExpired: it did not within a minute.
        """
        started = time.monotonic()
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(STOP)
        return time.monotonic() - started

    def kill(self) -> None:
        """End what is left of it."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()
