"""Sessions in a tier, on a site that two processes serve: who has logged out is out."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import redis

from redis_optimizer.embedded import HOST, EmbeddedServer
from tests.cache.caches import command_calls
from tests.servers import wait_until
from tests.tasks.processes import ROOT

pytestmark = pytest.mark.slow

OURS = "redis_optimizer.contrib.sessions"
CACHED_DB = "django.contrib.sessions.backends.cached_db"
PATIENT = 60.0  # seconds, and less than the bound of the tier: 121
WARM_READS = 50
USER = """
import django; django.setup()
from django.contrib.auth.models import User
from django.core.management import call_command
call_command("migrate", verbosity=0)
User.objects.create_user("ada", password="old")
"""


@dataclass
class Browser:
    """Somebody who comes with a cookie.

    Attributes:
        cookie: The key of the session, as the site gave it last; empty when it took it back.
        status: Of the last answer.
    """

    cookie: str = ""
    status: int = field(default=0, init=False)

    def get(self, port: int, path: str) -> str:
        """Ask one process for a page."""
        headers = {"Cookie": f"sessionid={self.cookie}"} if self.cookie else {}
        with contextlib.closing(http.client.HTTPConnection(HOST, port, timeout=PATIENT)) as client:
            client.request("GET", path, headers=headers)
            response = client.getresponse()
            self.status = response.status
            for given in response.headers.get_all("Set-Cookie", ()):
                name, _, value = given.partition(";")[0].partition("=")
                assert name == "sessionid"
                self.cookie = value.strip('"')
            return response.read().decode()


@contextlib.contextmanager
def process(environment: dict[str, str], log: Path) -> Iterator[int]:
    """Serve the site by one process; yield its port."""
    with socket.create_server((HOST, 0)) as listener:
        command = ["-m", "gunicorn", "--threads=2", f"--bind=fd://{listener.fileno()}"]
        application = "django.core.wsgi:get_wsgi_application()"
        with log.open("wb") as output:
            started = subprocess.Popen(
                [sys.executable, *command, application],
                cwd=ROOT,
                env=environment,
                pass_fds=[listener.fileno()],
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        port = listener.getsockname()[1]
    try:
        assert Browser().get(port, "/who/") == "nobody", log.read_text()
        yield port
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(started.pid, signal.SIGKILL)
        started.wait()


@pytest.fixture
def engine() -> str:
    return OURS


@pytest.fixture
def processes(tmp_path: Path, server: EmbeddedServer, engine: str) -> Iterator[tuple[int, int]]:
    """Serve the site by two processes; yield their ports."""
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "DJANGO_SETTINGS_MODULE": "tests.e2e.sessions.settings",
        "SITE_DATABASE": str(tmp_path / "site.sqlite3"),
        "SITE_REDIS": server.url,
        "SITE_SESSIONS": engine,
    }
    subprocess.run([sys.executable, "-c", USER], cwd=ROOT, env=environment, check=True)
    with (
        process(environment, tmp_path / "one.log") as one,
        process(environment, tmp_path / "other.log") as other,
    ):
        yield one, other


def is_stored(admin: redis.Redis, cookie: str) -> bool:
    """Say whether Redis holds the session, whichever engine put it there."""
    return bool(admin.keys(f"sessions:1:*{cookie}"))


def warm(admin: redis.Redis, port: int, browser: Browser) -> None:
    """Ask until the process knows the session."""

    def is_known() -> bool:
        admin.config_resetstat()
        assert browser.get(port, "/who/") == "ada"
        return not command_calls(admin)

    wait_until(is_known, PATIENT)


def test_who_has_logged_out_is_out(processes: tuple[int, int], admin: redis.Redis) -> None:
    one, other = processes
    ada, elsewhere = Browser(), Browser()
    for browser in (ada, elsewhere):
        browser.get(one, "/enter/?password=old")
    for port in (one, other):
        for browser in (ada, elsewhere):
            warm(admin, port, browser)

    # While it is warm, a session costs nothing.
    admin.config_resetstat()
    for _ in range(WARM_READS):
        assert ada.get(other, "/who/") == "ada"
    assert command_calls(admin) == {}

    # What is written in one process is seen there at once, and soon in the other: by one command.
    admin.config_resetstat()
    assert ada.get(one, "/note/?note=milk") == "noted"
    assert command_calls(admin) == {"set": 1}
    assert ada.get(one, "/noted/") == "milk"
    wait_until(lambda: ada.get(other, "/noted/") == "milk", PATIENT)

    # A new password ends all other sessions of the user: at once, in each process.
    before = Browser(ada.cookie)
    assert ada.get(one, "/password/?new=new") == "changed"
    assert ada.cookie != before.cookie
    assert not is_stored(admin, before.cookie)
    for port in (one, other):
        assert Browser(elsewhere.cookie).get(port, "/who/") == "nobody"
        assert Browser(before.cookie).get(port, "/who/") == "nobody"
        assert ada.get(port, "/who/") == "ada"

    # So does logging out that session: at once in the process that did it, soon in the other.
    for port in (one, other):
        warm(admin, port, ada)
    left = Browser(ada.cookie)
    assert ada.get(one, "/leave/") == "out"
    assert ada.cookie == ""
    assert not is_stored(admin, left.cookie)
    assert Browser(left.cookie).get(one, "/who/") == "nobody"
    wait_until(lambda: Browser(left.cookie).get(other, "/who/") == "nobody", PATIENT)


@pytest.mark.parametrize("engine", [OURS, CACHED_DB])
def test_a_process_that_has_not_heard_of_it_logs_nobody_in_again(
    processes: tuple[int, int], admin: redis.Redis, engine: str
) -> None:
    one, other = processes
    ada = Browser()
    ada.get(one, "/enter/?password=old")
    warm(admin, other, ada)
    ada.get(other, "/deafen/")
    left = Browser(ada.cookie)
    assert ada.get(one, "/leave/") == "out"

    assert left.get(other, "/who/") == "ada"  # until the bound
    left.get(other, "/note/?note=milk")
    assert left.status == 400
    assert not is_stored(admin, left.cookie)
    assert Browser(left.cookie).get(one, "/who/") == "nobody"
    if engine == OURS:  # nor does the process believe it any longer
        assert Browser(left.cookie).get(other, "/who/") == "nobody"
