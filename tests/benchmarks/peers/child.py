"""A process that measures one contender, asked in JSON, one object a line."""

import contextlib
import json
import os
import selectors
import subprocess
import tempfile
import time
from collections.abc import Mapping
from typing import IO, Any, Self, cast

from tests.benchmarks.peers.environments import ROOT, environment

ENDING = 5.0  # seconds for a process to end by itself


class Failed(Exception):
    """A contender did not do what it was asked; the message says what it said."""


class Child:
    """One process; a context manager that ends it.

    Args:
        python: the interpreter of its environment.
        module: what it runs.
        arguments: of the module.
        variables: added to its environment.
    """

    def __init__(
        self, python: str, module: str, *arguments: str, variables: Mapping[str, str] | None = None
    ) -> None:
        self._errors = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115 - see stop()
        self._process = subprocess.Popen(
            [python, "-m", module, *arguments],
            cwd=ROOT,
            env=environment() | dict(variables or {}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
        )
        self._stdin = cast("IO[bytes]", self._process.stdin)
        self._stdout = cast("IO[bytes]", self._process.stdout)
        self._unread = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """Return its process id."""
        return self._process.pid

    def tell(self, do: str, **what: Any) -> None:
        """Ask for something without waiting for it."""
        with contextlib.suppress(BrokenPipeError):  # its silence will be noticed
            self._stdin.write(json.dumps({"do": do, **what}).encode() + b"\n")
            self._stdin.flush()

    def hear(self, within: float = 60.0) -> Any:
        """Return the answer to what was asked.

        Args:
            within: seconds.

        Raises:
            Failed: it said so, ended, or did not answer in time; a late one is ended.
        """
        line = self._read_line(time.monotonic() + within)
        if line is None:
            self._process.kill()
            raise Failed(f"no answer within {within:.0f} s")
        if not line:
            raise Failed(f"ended early: {self._complaint()}")
        answer = json.loads(line)
        if "error" in answer:
            raise Failed(answer["error"])
        return answer["result"]

    def ask(self, do: str, within: float = 60.0, **what: Any) -> Any:
        """Ask for something and return the answer; as `hear`."""
        self.tell(do, **what)
        return self.hear(within)

    def stop(self) -> None:
        """End the process, by force if it does not end by itself."""
        with contextlib.suppress(BrokenPipeError):
            self._stdin.close()
        try:
            self._process.wait(ENDING)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._stdout.close()
        self._errors.close()

    def _read_line(self, deadline: float) -> bytes | None:
        """Return a line, nothing when the process has ended, or None when it is late."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._stdout, selectors.EVENT_READ)
            while b"\n" not in self._unread:
                if not selector.select(max(deadline - time.monotonic(), 0)):
                    return None
                more = os.read(self._stdout.fileno(), 65536)
                if not more:
                    return b""
                self._unread += more
        line, _, self._unread = self._unread.partition(b"\n")
        return line

    def _complaint(self) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(ENDING)
        self._errors.seek(0)
        return " / ".join(self._errors.read().strip().splitlines()[-3:])
