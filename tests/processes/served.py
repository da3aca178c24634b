"""The site, run by a server's own command line, and asked as visitors do."""

from __future__ import annotations

import contextlib
import http.client
import importlib.util
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import redis

from redis_optimizer.embedded import HOST, EmbeddedServer, free_port
from tests.processes.site.jobs import KEY
from tests.servers import connect, wait_until
from tests.tasks.processes import ROOT, STOP, Site
from tests.tasks.queues import arguments, envelopes, messages


def program(name: str) -> str:
    """Return the path of a program that came with a package."""
    return str(Path(sys.executable).with_name(name))


def has_package(name: str) -> bool:
    """Tell whether a package can be imported."""
    return importlib.util.find_spec(name) is not None


PYTHON = (sys.executable, "-m")
# Without its control socket, which all on one machine would share, and whose thread would stand
# beside the forks of a restart.
GUNICORN = (
    *(*PYTHON, "gunicorn", "--bind", "127.0.0.1:PORT", "--workers", "2", "--no-control-socket"),
    "tests.processes.site.wsgi",
)
UWSGI = (
    *(program("uwsgi"), "--http-socket", "127.0.0.1:PORT", "--module", "tests.processes.site.wsgi"),
    *("--master", "--processes", "2", "--die-on-term"),
    *("--hook-master-start", "unix_signal:15 gracefully_kill_them_all"),
)
FOR_ALL = 60  # seconds until each process has done something
PREFIX = "site"
# A fork beside threads draws one since Python 3.12. Made an error, it would be swallowed.
WARNINGS = "default::DeprecationWarning"
TROUBLE = ("Traceback", "Warning:", "Error", "Exception", "CRITICAL", "could not")


def site_settings(url: str) -> dict[str, Any]:
    """Return the settings of the site, beside those of `tests.tasks.site.settings`."""
    # Nothing expires or lapses in a test's time: what a process does not know any more, it has
    # heard of. Nothing is read in vain.
    l1 = {"START_AFTER": 0, "HEARTBEAT": 20, "MAX_STALENESS": 120, "EXACT_TTL": True}
    return {
        "ALLOWED_HOSTS": ["*"],
        "ROOT_URLCONF": "tests.processes.site.web",
        "MIDDLEWARE": ["redis_optimizer.middleware.RedisOptimizerMiddleware"],
        "CACHES": {
            "default": {
                "BACKEND": "redis_optimizer.cache.TieredCache",
                "LOCATION": url,
                "KEY_PREFIX": PREFIX,
                "TIMEOUT": 3600,
                "OPTIONS": {"L1": l1},
            }
        },
        "REDIS_OPTIMIZER": {"ENVELOPES": True},
    }


def labels(client: redis.Redis) -> list[str]:
    """Return the labels of all jobs in the queue, sorted."""
    singly = [arguments(each)[0][0] for each in messages(client)]
    together = [json.loads(job.body)[0][0] for jobs in envelopes(client) for job in jobs]
    return sorted(singly + together)


def trouble(log: str, *allowed: str) -> list[str]:
    """Return the lines of a log that tell of something that went wrong, but for those that may."""
    return [
        line
        for line in log.splitlines()
        if any(sign in line for sign in TROUBLE) and not any(each in line for each in allowed)
    ]


@contextlib.contextmanager
def reads(server: EmbeddedServer) -> Iterator[list[str]]:
    """Note which commands name the page's key during the block."""
    seen: list[str] = []
    with connect(server, timeout=20) as client, client.monitor() as monitor:
        yield seen
        client.echo("end of the block")
        for command in monitor.listen():
            if "end of the block" in command["command"]:
                break
            if f"{PREFIX}:1:{KEY}" in command["command"]:
                seen.append(command["command"])


@contextlib.contextmanager
def no_connection_stays(client: redis.Redis) -> Iterator[None]:
    """Assert that after the block the server has no connection that was not there before."""
    before = {each["id"] for each in client.client_list()}
    yield
    wait_until(lambda: {each["id"] for each in client.client_list()} <= before)


class Served:
    """One server that runs the site.

    Args:
        site: Where the site's processes find all else.
        command: Of the server, where PORT stands for the port.
        workers: How many processes answer.
        path: Of the page.
        environment: Added to the site's.
    """

    def __init__(
        self,
        site: Site,
        command: Sequence[str],
        *,
        workers: int = 2,
        path: str = "/page/",
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.workers = workers
        self.path = path
        self.port = free_port()
        self.log_path = site.directory / "server.log"
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(
                [part.replace("PORT", str(self.port)) for part in command],
                cwd=ROOT,
                env=site.environment() | {"PYTHONWARNINGS": WARNINGS} | dict(environment or {}),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def log(self) -> str:
        """Return what it has printed."""
        return self.log_path.read_text()

    def get(self, path: str, timeout: float = 30) -> dict[str, Any]:
        """Return what is answered, on a new connection.

        Raises:
            OSError, http.client.HTTPException: when nothing is.
        """
        connection = http.client.HTTPConnection(HOST, self.port, timeout=timeout)
        with contextlib.closing(connection):
            connection.request("GET", path, headers={"Connection": "close"})
            response = connection.getresponse()
            body = response.read().decode()
        assert response.status == 200, f"{response.status}: {body[:2000]}\n{self.log}"
        found: dict[str, Any] = json.loads(body)
        return found

    def wait_answers(self) -> None:
        """Wait until it answers."""

        def answers() -> bool:
            assert self.process.poll() is None, self.log
            with contextlib.suppress(OSError, http.client.HTTPException):
                return bool(self.get(self.path))
            return False

        wait_until(answers, FOR_ALL)

    def wait_all(self, wanted: Callable[[dict[str, Any]], bool], path: str = "") -> set[int]:
        """Ask until each process has given an answer that is wanted; return their ids."""
        pids: set[int] = set()

        def have_all() -> bool:
            answer = self.get(path or self.path)
            if wanted(answer):
                pids.add(answer["pid"])
            return len(pids) >= self.workers

        wait_until(have_all, FOR_ALL, step=0)
        return pids

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal to the main process, and return its exit status."""
        self.process.send_signal(number)
        try:
            return self.process.wait(STOP)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"It did not stop:\n{self.log}") from None

    def is_gone(self) -> bool:
        """Tell whether no process of the group is left."""
        try:
            os.killpg(self.process.pid, 0)
        except ProcessLookupError:
            return True
        return False

    def kill(self) -> None:
        """Kill it with its children."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(STOP)


@contextlib.contextmanager
def served(site: Site, command: Sequence[str], **options: Any) -> Iterator[Served]:
    """Run a server beside the block, see `Served`."""
    server = Served(site, command, **options)
    try:
        server.wait_answers()
        yield server
    finally:
        server.kill()
