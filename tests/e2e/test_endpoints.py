"""The endpoints of a site that is served, while Redis or tables of the database are gone.

How soon a failure is seen is what is promised here, so these tests, as no others, measure seconds.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import secrets
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from redis_optimizer.embedded import HOST, EmbeddedServer
from tests.servers import wait_until

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]

FLIP = 10.0  # seconds within which a probe must see that a server is gone, or back
STAYS = 1.0  # seconds that it goes on being asked after that
TTL = 5  # seconds that health/ may be told what was; with the default of 120 nobody would wait
DEADLINE = 4.0 + 4.0  # seconds that an answer may take: HEALTH_TIMEOUT, and a busy machine
LOOKED_UP = DEADLINE + 5.0  # for one whose session is read first: the cache's own timeout on top

SETTINGS = f"""
from example_project.settings import *
SESSION_ENGINE = "django.contrib.sessions.backends." + os.environ["SESSIONS"]
REDIS_OPTIMIZER |= {{"HEALTH_TTL": {TTL}, "HEALTH_STAFF_TTL": {TTL}, "HEALTH_FAILURE_TTL": {TTL}}}
"""

STAFF = """
import django; django.setup()
from django.contrib.auth.models import User
from django.test import Client
client = Client()
client.force_login(User.objects.create_superuser("boss"))
print(client.cookies["sessionid"].value)
"""

SERVERS = {
    "gunicorn": ("--workers=2", "--threads=4", "--bind=fd://{fd}", "example_project.wsgi"),
    "uvicorn": ("--fd={fd}", "--log-level=warning", "example_project.asgi:application"),
}


@dataclass(frozen=True)
class Answer:
    """What one request got.

    Attributes:
        path: What was asked for.
        status: The code; 0 when there was no answer.
        at: When it was asked for, by the monotonic clock.
        seconds: How long the answer took.
        process: That answered, where the request came so far.
        body: The text.
    """

    path: str
    status: int
    at: float
    seconds: float
    process: str
    body: str


@dataclass
class Site:
    """A site that is served, and is asked for its endpoints all the time."""

    port: int
    workers: int
    database: Path
    cookie: str
    answers: list[Answer] = field(default_factory=list)

    def get(self, path: str, cookie: str = "", timeout: float = 60) -> Answer:
        """Ask for a path, with a new connection."""
        headers = {"Cookie": f"sessionid={cookie}"} if cookie else {}
        at, status, process, body = time.monotonic(), 0, "", ""
        client = http.client.HTTPConnection(HOST, self.port, timeout=timeout)
        with contextlib.suppress(OSError, http.client.HTTPException), contextlib.closing(client):
            client.request("GET", path, headers=headers)
            response = client.getresponse()
            body = response.read().decode()
            status, process = response.status, response.headers.get("X-Served-By", "")
        return Answer(path, status, at, time.monotonic() - at, process, body)

    @contextlib.contextmanager
    def asked(self) -> Iterator[None]:
        """Have everybody ask all the time: probes, visitors, staff, and strangers with a cookie."""
        stopping = threading.Event()

        def ask(path: str, cookie: str | None) -> None:
            while not stopping.wait(0.1):
                shown = secrets.token_hex(16) if cookie is None else cookie
                self.answers.append(self.get(path, shown))

        who = [
            ("/live/", ""),
            ("/ready/", ""),
            ("/health/", ""),
            ("/health/?staff", self.cookie),
            ("/health/?stranger", None),
        ]
        threads = [threading.Thread(target=ask, args=each) for each in who]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            stopping.set()
            for thread in threads:
                thread.join()

    def wait_flip(self, path: str, status: int, since: float) -> float:
        """Wait until each process has answered with a status, and return after how many seconds."""

        def said() -> dict[str, float]:
            first: dict[str, float] = {}
            for answer in list(self.answers):
                if (answer.path, answer.status) == (path, status) and answer.at > since:
                    first.setdefault(answer.process, answer.at + answer.seconds - since)
            return first if len(first) == self.workers else {}

        took: dict[str, float] = wait_until(said)
        return max(took.values())

    def statuses(self, path: str, since: float) -> set[int]:
        """Return what was answered to what was asked after a time."""
        return {each.status for each in list(self.answers) if each.path == path and each.at > since}


@contextlib.contextmanager
def served(kind: str, directory: Path, redis_url: str, *, sessions: str) -> Iterator[Site]:
    """Run the example site.

    Args:
        kind: What serves it.
        directory: For its files.
        redis_url: Of its server.
        sessions: Where they are: "cache" or "db".
    """
    (directory / "settings_of_test.py").write_text(SETTINGS)
    database = directory / "site.sqlite3"
    environment = {
        **os.environ,
        "PYTHONPATH": f"{directory}:{ROOT}",
        "DJANGO_SETTINGS_MODULE": "settings_of_test",
        "EXAMPLE_DB": str(database),
        "REDIS_URL": redis_url,
        "SESSIONS": sessions,
    }

    def run(*arguments: str) -> str:
        command = [sys.executable, *arguments]
        return subprocess.run(
            command, cwd=directory, env=environment, check=True, stdout=subprocess.PIPE, text=True
        ).stdout

    run("-m", "django", "migrate", "--verbosity", "0")
    cookie = run("-c", STAFF).strip()
    with socket.create_server((HOST, 0)) as listener:
        port = listener.getsockname()[1]
        arguments = [each.format(fd=listener.fileno()) for each in SERVERS[kind]]
        with (directory / "log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", kind, *arguments],
                cwd=directory,
                env=environment,
                pass_fds=[listener.fileno()],
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        site = Site(port, 2 if kind == "gunicorn" else 1, database, cookie)
    try:
        wait_until(lambda: site.get("/live/", timeout=5).status == 200)
        yield site
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


PROBED = ("/ready/", "/health/")


def check_answers(site: Site) -> None:
    """Check what holds of all answers, whatever was gone."""
    assert {each.status for each in site.answers} <= {200, 503}
    assert {each.status for each in site.answers if each.path == "/live/"} == {200}
    for each in site.answers:
        assert each.seconds < (LOOKED_UP if each.path == "/health/?stranger" else DEADLINE)


KILLED = ((EmbeddedServer.kill, 503), (EmbeddedServer.restart, 200))
FROZEN = ((EmbeddedServer.freeze, 503), (EmbeddedServer.thaw, 200))


@pytest.mark.parametrize(("kind", "changes"), [("gunicorn", KILLED + FROZEN), ("uvicorn", FROZEN)])
def test_that_redis_is_gone_or_back_is_seen_in_time(
    kind: str, changes: Sequence[tuple[Callable[[EmbeddedServer], None], int]], tmp_path: Path
) -> None:
    server = EmbeddedServer()
    # The sessions are in what is gone.
    with server, served(kind, tmp_path, server.url, sessions="cache") as site:
        with site.asked():
            began = time.monotonic()
            for path in PROBED:
                site.wait_flip(path, 200, began)
            for change, status in changes:
                change(server)
                at = time.monotonic()
                took = [site.wait_flip(path, status, at) for path in PROBED]
                assert max(took) < FLIP
                seen = time.monotonic()
                time.sleep(STAYS)
                assert all(site.statuses(path, seen) <= {status} for path in PROBED)
        check_answers(site)


def test_without_the_tables_of_sessions_or_users_nobody_gets_an_error(tmp_path: Path) -> None:
    server = EmbeddedServer()
    with server, served("gunicorn", tmp_path, server.url, sessions="db") as site:
        for table in ("django_session", "auth_user"):
            with missing(table, site.database), site.asked():
                began = time.monotonic()
                for path in ("/health/", "/health/?staff", "/health/?stranger"):
                    site.wait_flip(path, 200, began)
        check_answers(site)
        told = [json.loads(each.body) for each in site.answers if each.path != "/live/"]
        assert all(set(body) == {"status", "cached", "age"} for body in told)


@contextlib.contextmanager
def missing(table: str, path: Path) -> Iterator[None]:
    """Take a table away from a database."""
    with contextlib.closing(sqlite3.connect(path, timeout=60)) as database:
        with database:
            database.execute(f"ALTER TABLE {table} RENAME TO away")
        yield
        with database:
            database.execute(f"ALTER TABLE away RENAME TO {table}")
