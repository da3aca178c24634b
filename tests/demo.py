"""`manage.py demo` in a process of its own, and a look at what it left behind."""

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from example_project.demo.client import Client
from example_project.demo.website import find_missing
from tests.servers import wait_until

ROOT = Path(__file__).resolve().parent.parent
STOP = 60  # seconds

needs_demo = pytest.mark.skipif(
    bool(find_missing()) and not os.environ.get("CI"), reason="the demo extra is not installed"
)


def clean_environment(**values: str) -> dict[str, str]:
    """Return this process's environment without what the tests or a developer set for a site."""
    left_out = ("EXAMPLE_", "REDIS_", "DJANGO_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(left_out)}
    return kept | {"PYTHONPATH": str(ROOT)} | values


def run_demo(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    return subprocess.run(
        [sys.executable, "manage.py", "demo", *arguments],
        cwd=ROOT,
        env=clean_environment(**environment),
        capture_output=True,
        text=True,
        timeout=180,
    )


class Demo:
    """A demo that serves: where it is, and how it ended."""

    def __init__(self, temporary: Path, *arguments: str, **environment: str) -> None:
        temporary.mkdir(exist_ok=True)
        self.temporary = temporary
        self.log = temporary.with_suffix(".log")
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "manage.py", "demo", "--port", "0", "--json", *arguments],
                cwd=ROOT,
                env=clean_environment(TMPDIR=str(temporary), **environment),
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        self.facts: dict[str, Any] = {}
        self._sessions: dict[str, tuple[dict[str, str], str]] = {}

    def wait(self) -> None:
        """Wait until it has said where it is."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.log.read_text()
        self.facts = json.loads(line)
        self.port = urlsplit(self.facts["url"]).port
        self.redis_port = urlsplit(self.facts["redis_url"]).port

    def client(self, username: str = "") -> Client:
        """Return a browser; with a name it shares that user's session, as a log-in takes long."""
        client = Client(self.port)
        if username:
            cookies, client.token = self._session(username)
            client.cookies = dict(cookies)
        return client

    def _session(self, username: str) -> tuple[dict[str, str], str]:
        """Return a user's cookies and CSRF token; the first call logs in."""
        if username not in self._sessions:
            client = Client(self.port)
            assert client.log_in(username, self.facts["password"])
            client.get("/settings/")
            client.close()
            self._sessions[username] = client.cookies, client.token
        return self._sessions[username]

    def command(self, *arguments: str) -> str:
        """Run a management command of the site that is served; return what it printed."""
        environment = clean_environment(
            REDIS_URL=self.facts["redis_url"],
            EXAMPLE_DB=self.facts["database"],
            EXAMPLE_NAME=self.facts["name"],
        )
        return subprocess.check_output(
            [sys.executable, "manage.py", *arguments], cwd=ROOT, env=environment, text=True
        )

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Return what a query finds in the site's database."""
        with closing(sqlite3.connect(self.facts["database"], timeout=STOP)) as connection:
            return connection.execute(query).fetchall()

    def end(self, number: signal.Signals) -> int:
        """Send a signal and return the exit status."""
        self.process.send_signal(number)
        return self.process.wait(STOP)

    def wait_gone(self) -> None:
        """Wait until nothing listens, the worker is gone and no temporary file is left."""
        wait_until(lambda: not lives(self.facts["worker"]), STOP)
        wait_until(lambda: not listens(self.port) and not listens(self.redis_port), STOP)
        wait_until(lambda: not any(self.temporary.iterdir()), STOP)


@contextmanager
def running_demo(
    temporary: Path, *arguments: str, ready: bool = True, **environment: str
) -> Iterator[Demo]:
    """Yield a demo, when it serves unless `ready` is False; it is stopped with the block."""
    demo = Demo(temporary, *arguments, **environment)
    try:
        if ready:
            demo.wait()
        yield demo
    finally:
        demo.process.terminate()
        demo.process.wait(STOP)
        if demo.process.stdout is not None:
            demo.process.stdout.close()


def lives(group: int) -> bool:
    """Tell whether a process of a group runs; one that has ended and is not yet reaped does not."""
    lines = subprocess.check_output(["ps", "-eo", "pgid=,stat="], text=True).splitlines()
    return any(
        int(pgid) == group and not state.startswith("Z") for pgid, state in map(str.split, lines)
    )


def listens(port: int) -> bool:
    """Tell whether something on this machine accepts connections at a port."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
