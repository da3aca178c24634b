"""Every web server: the same page, the same promises."""

import itertools
import signal
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis

from redis_optimizer.embedded import EmbeddedServer
from tests.missing import go_without
from tests.processes.served import (
    GUNICORN,
    PYTHON,
    UWSGI,
    has_package,
    labels,
    no_connection_stays,
    reads,
    served,
    trouble,
)
from tests.servers import wait_until
from tests.tasks.processes import STOP, Site

pytestmark = pytest.mark.slow


UVICORN = (
    *(*PYTHON, "uvicorn", "--port", "PORT", "--workers", "2"),
    "tests.processes.site.asgi:application",
)
GRANIAN = (*PYTHON, "granian", "--port", "PORT", "--workers", "2")


@dataclass(frozen=True)
class Kind:
    """One way to serve the site.

    Attributes:
        command: What starts it.
        package: That has to be installed.
        path: Of the page.
        warm: The main process reads the cache and sends a job before it forks.
        allowed: What may be in its log.
    """

    command: tuple[str, ...]
    package: str
    path: str = "/page/"
    warm: bool = False
    allowed: tuple[str, ...] = ()


ASYNC = "/async-page/"
# Its main process, which does not load the site, forks beside threads of its own.
ITS_OWN_FORK = ("popen_fork.py",)
KINDS = {
    "gunicorn": Kind(GUNICORN, "gunicorn"),
    "gunicorn, threads": Kind((*GUNICORN, "--threads", "4"), "gunicorn"),
    "gunicorn, preloaded": Kind((*GUNICORN, "--preload"), "gunicorn", warm=True),
    "gunicorn, gevent": Kind((*GUNICORN, "-k", "gevent"), "gevent"),
    "uWSGI": Kind((*UWSGI, "--enable-threads"), "pyuwsgi", warm=True),
    "uWSGI, threads": Kind((*UWSGI, "--threads", "4", "--lazy-apps"), "pyuwsgi"),
    "uvicorn": Kind(UVICORN, "uvicorn", path=ASYNC),
    "granian, ASGI": Kind(
        (*GRANIAN, "--interface", "asginl", "tests.processes.site.asgi:application"),
        "granian",
        path=ASYNC,
        allowed=ITS_OWN_FORK,
    ),
    "granian, WSGI": Kind(
        (*GRANIAN, "--interface", "wsgi", "tests.processes.site.wsgi:application"),
        "granian",
        allowed=ITS_OWN_FORK,
    ),
}


@pytest.mark.parametrize("name", KINDS)
def test_a_site_under(name: str, site: Site, server: EmbeddedServer, admin: redis.Redis) -> None:
    kind = KINDS[name]
    if not has_package(kind.package):
        go_without(f"{kind.package} is not installed: it comes with the extra [test]")
    at_once = ["main process"] if kind.warm else []
    warm = {"SITE_WARM": at_once[0]} if kind.warm else {}
    with (
        no_connection_stays(admin),
        served(site, kind.command, path=kind.path, environment=warm) as running,
    ):
        # Each process reads, keeps, and hears of what another one writes.
        running.get("/write/first/")
        pids = running.wait_all(lambda answer: answer["kept"] and answer["value"] == "first")
        with reads(server) as commands:
            assert {running.get(kind.path)["value"] for _ in range(20)} == {"first"}
        assert commands == []
        running.get("/write/second/")
        assert running.wait_all(lambda answer: answer["value"] == "second") == pids

        # Jobs wait in each process until it ends, and then leave.
        numbers = itertools.count()
        sent: list[str] = []

        senders: set[int] = set()
        while senders != pids:
            label = f"job {next(numbers)}"
            answer = running.get(f"/send/{label.replace(' ', '%20')}/")
            senders.add(answer["pid"])
            sent.append(label)
            assert set(answer["threads"]) <= {"redis_optimizer:channel", "redis_optimizer.jobs"}
        assert labels(admin) == at_once
        assert running.stop() == 0
        wait_until(running.is_gone)
        assert labels(admin) == sorted([*sent, *at_once])
        assert trouble(running.log, *kind.allowed) == []


@pytest.mark.parametrize("options", [("--enable-threads",), ("--threads", "4", "--lazy-apps")])
def test_uwsgi_that_stops_amid_a_request_sends_what_waits(
    site: Site, admin: redis.Redis, options: tuple[str, ...], tmp_path: Path
) -> None:
    if not has_package("pyuwsgi"):
        go_without("pyuwsgi is not installed: it comes with the extra [test]")
    gate = tmp_path / "gate"
    with served(site, (*UWSGI, *options)) as running, ThreadPoolExecutor(1) as pool:
        # uWSGI may wait for ever for a process that was to stop while it loaded the site.
        running.wait_all(lambda answer: True)
        answer = pool.submit(running.get, f"/send-slowly/job/?gate={gate}")
        wait_until(gate.with_suffix(".reached").exists)
        assert labels(admin) == []
        running.process.send_signal(signal.SIGTERM)
        wait_until(lambda: "graceful shutdown" in running.log)
        gate.touch()
        assert answer.result(STOP)["value"] is None
        assert running.process.wait(STOP) == 0
        wait_until(running.is_gone)
    assert labels(admin) == ["job"]


def test_uwsgi_that_would_not_wait_for_a_request_keeps_no_job_waiting(
    site: Site, server: EmbeddedServer, admin: redis.Redis
) -> None:
    if not has_package("pyuwsgi"):
        go_without("pyuwsgi is not installed: it comes with the extra [test]")
    command = (*UWSGI[: UWSGI.index("--hook-master-start")], "--enable-threads")
    with served(site, command) as running:
        running.get("/write/first/")
        running.wait_all(lambda answer: answer["kept"] and answer["value"] == "first")
        with reads(server) as commands:
            assert {running.get("/page/")["value"] for _ in range(4)} == {"first"}
        assert commands == []
        running.get("/send/job/")
        assert labels(admin) == ["job"]
        assert running.stop() == 0
        wait_until(running.is_gone)
    assert "Set hook-master-start = unix_signal:15 gracefully_kill_them_all." in running.log


def test_uwsgi_without_threads_keeps_nothing_waiting(
    site: Site, server: EmbeddedServer, admin: redis.Redis
) -> None:
    if not has_package("pyuwsgi"):
        go_without("pyuwsgi is not installed: it comes with the extra [test]")
    with no_connection_stays(admin), served(site, UWSGI) as running:
        running.get("/write/first/")
        running.wait_all(lambda answer: answer["value"] == "first")
        with reads(server) as commands:
            assert {running.get("/page/")["value"] for _ in range(4)} == {"first"}
        assert len(commands) == 4
        running.get("/send/job/")
        assert labels(admin) == ["job"]
        assert running.stop() == 0
        wait_until(running.is_gone)
    assert "Set enable-threads = true." in running.log
    assert trouble(running.log) == []
