"""Run the Celery worker of the example site."""

import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path

from .process import Process, ProcessError
from .readiness import VARIABLE

START_TIMEOUT = 60.0  # seconds; it takes jobs after about two on an idle machine
POLL = 0.05


class JobWorker(Process):
    """A worker with its children; they stop with the process that started them.

    Args:
        directory, environment, log: as for `Process`.
        concurrency: number of children.
    """

    stop_signal = signal.SIGTERM  # what runs is finished, the rest is left to the next worker
    stop_timeout = 10.0

    def __init__(
        self,
        directory: Path,
        environment: Mapping[str, str],
        *,
        concurrency: int = 2,
        log: Path | None = None,
    ) -> None:
        command = (
            *("-W", "ignore:You're running the worker with superuser"),  # in a container
            *("-m", "celery", "--quiet", "--app", "example_project", "worker"),
            *("--concurrency", str(concurrency), "--loglevel", "WARNING"),
            *("--include", "example_project.demo.readiness"),
        )
        self._ready = directory / f"worker-ready-{os.urandom(4).hex()}"
        environment = {**environment, VARIABLE: str(self._ready)}
        super().__init__(command, directory, environment, log=log)

    def wait(self) -> None:
        """Wait until it takes jobs.

        Raises:
            ProcessError: it ended or took none; the message holds the end of its log.
        """
        deadline = time.monotonic() + START_TIMEOUT
        while not self._ready.exists():
            if self.status is not None:
                raise ProcessError(f"The worker ended as it started.\n{self.tail()}")
            if time.monotonic() > deadline:
                raise ProcessError(f"The worker takes no jobs.\n{self.tail()}")
            time.sleep(POLL)
