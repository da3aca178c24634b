"""Find and run a real Valkey or Redis server for development and tests.

The server listens on the loopback interface alone, keeps its files in a temporary directory and
stops with the process that started it, however that process dies. Not for production.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self

from redis_optimizer._binary import ServerNotFound, find_binary
from redis_optimizer._ports import HOST, free_port

__all__ = [
    "HOST",
    "EmbeddedServer",
    "ServerNotFound",
    "ServerNotStarted",
    "find_binary",
    "free_port",
    "running_server",
]

START_TIMEOUT = 15.0  # seconds; a start takes 0.02 to 0.05 s on an idle machine
STOP_TIMEOUT = 5.0  # seconds before a server that does not terminate is killed
ATTEMPTS = 5  # ports tried when another process takes the chosen one first


class ServerNotStarted(Exception):
    """The server ended or did not answer; the message holds the end of its log."""


class EmbeddedServer:
    """One server process on a loopback port, with a temporary directory of its own.

    Args:
        port: the port to listen on; None takes a free one.
        persistent: write every change to disk, so that `restart` finds the data again.
        args: further arguments for the server's command line.
        binary: path of the server; None asks `find_binary`.
    """

    def __init__(
        self,
        *,
        port: int | None = None,
        persistent: bool = False,
        args: Sequence[str] = (),
        binary: str | None = None,
    ) -> None:
        self.binary = binary
        self.persistent = persistent
        self.args = tuple(args)
        self._port = port
        self._owner = 0
        self._directory: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._watchdog: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    @property
    def port(self) -> int:
        """Return the port; one is chosen at the first question or start."""
        if self._port is None:
            self._port = free_port()
        return self._port

    @property
    def url(self) -> str:
        """Return the URL of database 0."""
        return f"redis://{HOST}:{self.port}/0"

    @property
    def directory(self) -> Path:
        """Return the temporary directory; it exists from start to stop."""
        if self._directory is None:
            raise RuntimeError("The server is not started.")
        return self._directory

    @property
    def pid(self) -> int:
        """Return the server's process id."""
        if self._process is None:
            raise RuntimeError("The server is not started.")
        return self._process.pid

    @property
    def running(self) -> bool:
        """Tell whether the process lives, frozen or not; a forked child is told False."""
        if self._process is None or self._owner != os.getpid():
            return False
        if self._process.poll() is None:
            return True
        self._reap()
        return False

    def start(self) -> Self:
        """Start the server and wait until it answers.

        Raises:
            ServerNotFound: no server is installed.
            ServerNotStarted: it ended, did not answer within 15 seconds, or the port is taken.
        """
        if self.running:
            return self
        binary = self.binary or find_binary()
        attempts = ATTEMPTS if self._port is None else 1
        try:
            self._prepare()
            for _ in range(attempts):
                if self._launch(binary):
                    return self
                taken, self._port = self.port, None
            self._port = taken
            raise ServerNotStarted(f"Port {taken} is taken by another process.")
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop the server and remove its directory; a forked child's call does nothing."""
        if self._owner != os.getpid():
            return
        self._terminate()
        if self._watchdog is not None:
            self._watchdog.kill()
            self._watchdog.communicate()
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)
        self._process = self._watchdog = self._directory = None

    def kill(self) -> None:
        """Kill the server at once, as a crash would; `restart` brings it back."""
        self._signal(signal.SIGKILL)
        self._reap()

    def restart(self) -> None:
        """Stop the server if it runs, and start it on the same port and directory.

        Raises:
            ServerNotStarted: as `start` does; the directory is gone then.
        """
        port = self.port
        self._terminate()
        self._port = port
        self.start()

    def freeze(self) -> None:
        """Suspend the server: connections stay open and nothing answers."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen server go on."""
        self._signal(signal.SIGCONT)

    def command(self, binary: str) -> list[str]:
        """Return the command line; the caller's arguments come last, so that they win."""
        return [
            *(binary, "--bind", HOST, "--port", str(self.port), "--protected-mode", "yes"),
            *("--dir", str(self.directory), "--save", ""),
            *("--appendonly", "yes" if self.persistent else "no", "--appendfsync", "always"),
            *self.args,
        ]

    def _prepare(self) -> None:
        """Make the directory and start the watchdog; after a crash both are there already."""
        if self._directory is not None:
            return
        self._owner = os.getpid()
        self._directory = Path(tempfile.mkdtemp(prefix="redis-optimizer-"))
        script = str(Path(__file__).with_name("_watchdog.py"))
        self._watchdog = subprocess.Popen(
            [sys.executable, "-I", "-S", script, str(self._directory), str(self._owner)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            start_new_session=True,
        )

    def _guard(self, pid: int) -> None:
        """Tell the watchdog which process to stop after us; 0 is none."""
        if self._watchdog is not None and self._watchdog.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._watchdog.stdin.write(b"%d\n" % pid)

    def _launch(self, binary: str) -> bool:
        """Start the process and wait until it answers; False when its port was taken meanwhile."""
        log = self.directory / "server.log"
        with log.open("wb") as output:
            # A session of its own: Ctrl-C in the terminal is ours to handle, not the server's.
            self._process = subprocess.Popen(
                self.command(binary),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self.directory,
                start_new_session=True,
            )
        self._guard(self._process.pid)
        deadline = time.monotonic() + START_TIMEOUT
        while self.running:
            if self._answers():
                return True
            if time.monotonic() > deadline:
                raise ServerNotStarted(f"{binary} did not answer.\n{_tail(log)}")
            time.sleep(0.01)
        tail = _tail(log)
        if "Address already in use" in tail:
            return False
        raise ServerNotStarted(f"{binary} ended as it started.\n{tail}")

    def _answers(self) -> bool:
        """Tell whether our own process, and not another one on that port, serves commands."""
        reply = b""
        try:
            with socket.create_connection((HOST, self.port), timeout=1) as connection:
                connection.sendall(b"INFO server\r\nPING\r\n")
                while not reply.endswith(b"+PONG\r\n"):
                    reply += (chunk := connection.recv(4096))
                    if not chunk or b"-LOADING" in reply:
                        return False
                    if reply.startswith(b"-NOAUTH"):
                        return True
        except OSError:
            return False
        return b"process_id:%d\r\n" % self.pid in reply

    def _signal(self, number: signal.Signals) -> None:
        process = self._process
        # Popen.send_signal would reap a dead process, before the watchdog is told.
        if process is not None and process.returncode is None and self._owner == os.getpid():
            os.kill(process.pid, number)

    def _terminate(self) -> None:
        self._signal(signal.SIGCONT)  # a frozen process handles no SIGTERM
        self._signal(signal.SIGTERM)
        self._reap()

    def _reap(self) -> None:
        """Wait for the process to end; its pid is free for others then, so unguard it first."""
        if self._process is None or self._owner != os.getpid():
            return
        self._guard(0)
        try:
            self._process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _tail(log: Path, lines: int = 20) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])


@contextlib.contextmanager
def running_server(
    *, port: int | None = None, persistent: bool = False, args: Sequence[str] = ()
) -> Iterator[str]:
    """Yield the URL of a server: REDIS_URL when it is set, else one that stops with the block.

    Args:
        port, persistent, args: as for `EmbeddedServer`; without effect on the server of REDIS_URL.

    Raises:
        ServerNotFound: REDIS_URL is not set and no server is installed.
        ServerNotStarted: see `EmbeddedServer.start`.
    """
    if url := os.environ.get("REDIS_URL"):
        yield url
        return
    with EmbeddedServer(port=port, persistent=persistent, args=args) as server:
        yield server.url
