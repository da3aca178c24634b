"""A process of a benchmark, which is talked to in JSON, one object a line."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import IO, Any, TypeAlias, cast

from redis_optimizer.conf import ENABLED_VARIABLE

ENDING = 5.0  # seconds for a process to end by itself

Inbox: TypeAlias = "queue.SimpleQueue[tuple[Child, dict[str, Any] | None]]"


class WorkerError(Exception):
    """A process failed; the message holds the end of what it wrote to stderr."""


def child_environment() -> dict[str, str]:
    """Return this process's environment, with its import path.

    The path is for a package that is not installed but lies beside manage.py. Whether ours is on
    is up to what is measured: the variable that says so would go before the settings.
    """
    path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
    given = {name: value for name, value in os.environ.items() if name != ENABLED_VARIABLE}
    return given | {"PYTHONPATH": path}


class Child:
    """One process; what it says arrives in the inbox as (child, message), its end as None.

    Args:
        module: what it runs.
        inbox: may be shared by several.
        environment: added to this process's own.
    """

    def __init__(
        self, module: str, inbox: Inbox, environment: Mapping[str, str] | None = None
    ) -> None:
        self._errors = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115 - see stop()
        self._process = subprocess.Popen(
            [sys.executable, "-m", module],
            env=child_environment() | dict(environment or {}),
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

    def tell(self, message: object) -> None:
        """Write one line to the process; one that has ended is noticed by its silence."""
        with suppress(BrokenPipeError):
            self._stdin.write(json.dumps(message) + "\n")
            self._stdin.flush()

    def complaint(self) -> str:
        """Return the last lines that the process wrote to stderr."""
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
