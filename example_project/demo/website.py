"""Run the example site under gunicorn."""

import os
import signal
import socket
import time
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Self

from .client import processes
from .process import Process, ProcessError

HOST = "127.0.0.1"
START_TIMEOUT = 60.0  # seconds; all workers answer after about one on an idle machine
KEEP_ALIVE = 120  # seconds that an idle connection stays open: a client stays with its process


def listen(port: int) -> socket.socket:
    """Return a listening socket on the loopback interface; port 0 takes a free one.

    Raises:
        ProcessError: the port is taken or may not be used.
    """
    try:
        return socket.create_server((HOST, port), backlog=256)
    except (OSError, OverflowError) as error:
        reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else error
        raise ProcessError(
            f"Port {port} cannot be used ({reason}): choose another one with --port."
        ) from error


def find_missing() -> list[str]:
    """Return which packages of the `demo` extra are not installed."""
    return [name for name in ("gunicorn", "whitenoise") if find_spec(name) is None]


class Website(Process):
    """The site in processes of its own; they stop with the process that started them.

    Args:
        listener: the socket to serve; it is handed over at the start.
        directory, environment, log: as for `Process`.
        workers: number of processes.
        threads: number of threads in each.
    """

    stop_signal = signal.SIGINT  # quickly, without waiting for idle connections
    stop_timeout = 5.0

    def __init__(
        self,
        listener: socket.socket,
        directory: Path,
        environment: Mapping[str, str],
        *,
        workers: int = 2,
        threads: int = 4,
        log: Path | None = None,
    ) -> None:
        descriptor = listener.fileno()
        command = (
            *("-m", "gunicorn", "example_project.wsgi:application"),
            *("--bind", f"fd://{descriptor}", "--worker-class", "gthread"),
            *("--workers", str(workers), "--threads", str(threads)),
            *("--keep-alive", str(KEEP_ALIVE), "--graceful-timeout", "2"),
            *("--log-level", "warning", "--no-control-socket"),
        )
        environment = {**environment, "GUNICORN_CMD_ARGS": ""}
        super().__init__(command, directory, environment, log=log, descriptors=[descriptor])
        self.listener = listener
        self.workers = workers
        self.port: int = listener.getsockname()[1]
        self.url = f"http://{HOST}:{self.port}/"
        self.processes: list[int] = []

    def start(self) -> Self:
        """Start the site; `wait` tells when it answers."""
        try:
            return super().start()
        finally:
            # Closed here, so that nobody waits in the queue of a site that has ended.
            self.listener.close()

    def wait(self) -> None:
        """Wait until every worker has answered.

        Raises:
            ProcessError: the site ended or did not answer; the message holds the end of its log.
        """
        deadline = time.monotonic() + START_TIMEOUT
        while len(self.processes) < self.workers:
            if self.status is not None:
                raise ProcessError(f"The web server ended as it started.\n{self.tail()}")
            if time.monotonic() > deadline:
                raise ProcessError(f"The web server does not answer.\n{self.tail()}")
            self.processes = processes(self.port, self.workers, timeout=1)
