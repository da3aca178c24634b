"""A process of the demo, which stops with the demo however that ends."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Self

from redis_optimizer import _watchdog

BASE_DIR = Path(__file__).resolve().parent.parent.parent


class ProcessError(Exception):
    """A process cannot be started, or it ended; the message says why."""


class Process:
    """One process with its children, in a session of its own: Ctrl-C is the demo's to handle.

    Args:
        command: arguments for Python.
        directory: a scratch directory, removed when the demo dies without stopping the process.
        environment: what `settings.py` reads, on top of this process's own environment.
        log: file for what it writes; None leaves errors on the terminal.
        descriptors: what it takes over.
    """

    stop_signal: ClassVar[signal.Signals]
    stop_timeout: ClassVar[float]  # seconds before a process that does not stop is killed

    def __init__(
        self,
        command: Sequence[str],
        directory: Path,
        environment: Mapping[str, str],
        *,
        log: Path | None = None,
        descriptors: Sequence[int] = (),
    ) -> None:
        self.command = command
        self.directory = directory
        self.environment = environment
        self.log = log
        self.descriptors = descriptors
        self._process: subprocess.Popen[bytes] | None = None
        self._watchdog: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def start(self) -> Self:
        """Start it."""
        self._watchdog = self._watch()
        try:
            self._process = self._launch()
            # Minus: the process and its children.
            self._guard(-self.pid)
        except BaseException:
            self.stop()
            raise
        return self

    @property
    def pid(self) -> int:
        """Return its id, which is that of the process group, too."""
        if self._process is None:
            raise ProcessError("It is not started.")
        return self._process.pid

    @property
    def status(self) -> int | None:
        """Return the exit status; None while it runs."""
        status = None if self._process is None else self._process.poll()
        if status is not None:
            self._guard(0)  # the id may belong to another process from now on
        return status

    def stop(self) -> int | None:
        """Stop it if it runs; return its exit status, None when it was never started."""
        if self._process is not None and self._process.poll() is None:
            self._guard(0)
            self._process.send_signal(self.stop_signal)
            try:
                self._process.wait(self.stop_timeout)
            except subprocess.TimeoutExpired:
                os.killpg(self.pid, signal.SIGKILL)
                self._process.wait()
        if self._watchdog is not None:
            self._watchdog.kill()
            self._watchdog.communicate()
            self._watchdog = None
        return None if self._process is None else self._process.returncode

    def tail(self, lines: int = 30) -> str:
        """Return the end of the log; nothing when it writes to the terminal."""
        if self.log is None:
            return ""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def _watch(self) -> subprocess.Popen[bytes]:
        """Start the process that stops this one when we are killed."""
        return subprocess.Popen(
            [sys.executable, "-I", "-S", _watchdog.__file__, str(self.directory), str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            start_new_session=True,
        )

    def _launch(self) -> subprocess.Popen[bytes]:
        output = None if self.log is None else self.log.open("wb")
        try:
            return subprocess.Popen(
                [sys.executable, *self.command],
                stdin=subprocess.DEVNULL,
                stdout=output or subprocess.DEVNULL,
                stderr=subprocess.STDOUT if output else None,
                # What a process that is killed leaves behind goes with the directory.
                env={**os.environ, "TMPDIR": str(self.directory), **self.environment},
                cwd=BASE_DIR,
                pass_fds=self.descriptors,
                start_new_session=True,
            )
        finally:
            if output is not None:
                output.close()

    def _guard(self, pid: int) -> None:
        if self._watchdog is not None and self._watchdog.stdin is not None:
            self._watchdog.stdin.write(b"%d\n" % pid)
