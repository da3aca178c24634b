"""Run the example site under gunicorn."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Self

from redis_optimizer import _watchdog

from .client import processes

BASE_DIR = Path(__file__).resolve().parent.parent.parent
HOST = "127.0.0.1"
START_TIMEOUT = 60.0  # seconds; all workers answer after about one on an idle machine
STOP_TIMEOUT = 5.0  # seconds before a server that does not stop is killed
KEEP_ALIVE = 120  # seconds that an idle connection stays open: a client stays with its process


class WebsiteError(Exception):
    """The site cannot be started, or it ended; the message says why."""


def listen(port: int) -> socket.socket:
    """Return a listening socket on the loopback interface; port 0 takes a free one.

    Raises:
        WebsiteError: the port is taken or may not be used.
    """
    try:
        return socket.create_server((HOST, port), backlog=256)
    except (OSError, OverflowError) as error:
        reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else error
        raise WebsiteError(
            f"Port {port} cannot be used ({reason}): choose another one with --port."
        ) from error


def find_missing() -> list[str]:
    """Return which packages of the `demo` extra are not installed."""
    return [name for name in ("gunicorn", "whitenoise") if find_spec(name) is None]


class Website:
    """The site in processes of its own; they stop with the process that started them.

    Args:
        listener: the socket to serve; it is handed over at the start.
        directory: a scratch directory, removed when this process dies without stopping the site.
        environment: what `settings.py` reads, on top of this process's own environment.
        workers: number of processes.
        threads: number of threads in each.
        log: file for what the site writes; None leaves it on the terminal.
    """

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
        self.listener = listener
        self.directory = directory
        self.environment = environment
        self.workers = workers
        self.threads = threads
        self.log = log
        self.port: int = listener.getsockname()[1]
        self.url = f"http://{HOST}:{self.port}/"
        self.processes: list[int] = []
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def start(self) -> Self:
        """Start the site; `wait` tells when it answers."""
        self._watchdog = self._watch()
        try:
            self._process = self._launch()
            self._guard(self._process.pid)
        except BaseException:
            self.stop()
            raise
        return self

    def wait(self) -> None:
        """Wait until every worker has answered.

        Raises:
            WebsiteError: the site ended or did not answer; the message holds the end of its log.
        """
        deadline = time.monotonic() + START_TIMEOUT
        while len(self.processes) < self.workers:
            if self.status is not None:
                raise WebsiteError(f"The web server ended as it started.\n{self.tail()}")
            if time.monotonic() > deadline:
                raise WebsiteError(f"The web server does not answer.\n{self.tail()}")
            self.processes = processes(self.port, self.workers, timeout=1)

    @property
    def status(self) -> int | None:
        """Return the exit status; None while the site runs."""
        status = None if self._process is None else self._process.poll()
        if status is not None:
            self._guard(0)  # the id may belong to another process from now on
        return status

    def stop(self) -> None:
        """Stop the site: quickly, without waiting for idle connections."""
        self.listener.close()
        if self._process is not None:
            self._guard(0)
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._watchdog.kill()
        self._watchdog.communicate()

    def tail(self, lines: int = 30) -> str:
        """Return the end of the log; nothing when the site writes to the terminal."""
        if self.log is None:
            return ""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def _watch(self) -> subprocess.Popen[bytes]:
        """Start the process that stops the site when we are killed."""
        return subprocess.Popen(
            [sys.executable, "-I", "-S", _watchdog.__file__, str(self.directory), str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            start_new_session=True,
        )

    def _launch(self) -> subprocess.Popen[bytes]:
        descriptor = self.listener.fileno()
        environment = {**os.environ, **self.environment}
        environment.pop("GUNICORN_CMD_ARGS", None)
        output = None if self.log is None else self.log.open("wb")
        try:
            # In a session of its own: Ctrl-C in the terminal is ours to handle.
            return subprocess.Popen(
                [
                    *(sys.executable, "-m", "gunicorn", "example_project.wsgi:application"),
                    *("--bind", f"fd://{descriptor}", "--worker-class", "gthread"),
                    *("--workers", str(self.workers), "--threads", str(self.threads)),
                    *("--keep-alive", str(KEEP_ALIVE), "--graceful-timeout", "2"),
                    *("--log-level", "warning", "--no-control-socket"),
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT if output else None,
                env=environment,
                cwd=BASE_DIR,
                pass_fds=[descriptor],
                start_new_session=True,
            )
        finally:
            # Closed here, so that nobody waits in the queue of a site that has ended.
            self.listener.close()
            if output is not None:
                output.close()

    def _guard(self, pid: int) -> None:
        if self._watchdog.stdin is not None:
            self._watchdog.stdin.write(b"%d\n" % pid)
