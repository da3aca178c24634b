"""A worker that waits long for jobs stops at once when it is asked to."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis

from redis_optimizer.embedded import HOST, EmbeddedServer
from tests.servers import connect, wait_until
from tests.tasks.processes import ROOT, Site
from tests.tasks.quiet import TASKS, next_wait, wait_for_wait, worker_settings
from tests.tasks.site import runs

AT_ONCE = 30  # seconds on a busy machine: of the 60 that a worker would wait otherwise
# A pool of processes may take 30 s to end after jobs, whatever the worker does: billiard waits
# that long for results that it has counted wrongly.
BUSY = 75

SENDER = """
import sys, threading
import django; django.setup()
from tests.tasks.site.app import app
from tests.tasks.site.quiet import note
over = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), over.set()), daemon=True).start()
number = 0
while not over.wait(0.02):
    note.delay(number)
    number += 1
print(number)
"""


@pytest.fixture
def admin(server: EmbeddedServer) -> Iterator[redis.Redis]:
    client = connect(server, timeout=30)
    yield client
    client.close()


@pytest.fixture
def quiet_site(make_site: Callable[..., Site]) -> Site:
    return make_site(tasks=[TASKS], settings=worker_settings())


@pytest.mark.parametrize("pool", ["prefork", "solo", "threads"])
def test_an_idle_worker_stops_at_once(quiet_site: Site, admin: redis.Redis, pool: str) -> None:
    with quiet_site.worker("-P", pool, "-c", "2") as worker:
        wait_for_wait(admin)
        assert worker.stop(timeout=AT_ONCE) == 0


def test_a_worker_that_has_worked_stops_at_once(quiet_site: Site, admin: redis.Redis) -> None:
    with quiet_site.worker("-P", "threads", "-c", "2") as worker:
        wait_for_wait(admin)
        quiet_site.produce("from tests.tasks.site.quiet import note; note.delay(1)")
        wait_until(lambda: runs.rows(quiet_site.runs))
        wait_for_wait(admin)
        assert worker.stop(timeout=AT_ONCE) == 0


def test_so_it_does_by_remote_control(quiet_site: Site, admin: redis.Redis) -> None:
    with quiet_site.worker("-P", "solo") as worker:
        wait_for_wait(admin)
        quiet_site.produce("app.control.shutdown()")
        assert worker.process.wait(AT_ONCE) == 0


def test_so_it_does_after_its_connection_was_lost(quiet_site: Site, admin: redis.Redis) -> None:
    with quiet_site.worker("-P", "threads", "-c", "2") as worker:
        lost = wait_for_wait(admin)
        admin.client_kill_filter(_id=lost)
        wait_until(lambda: wait_for_wait(admin) != lost)
        assert worker.stop(timeout=AT_ONCE) == 0


def test_where_it_may_not_unblock_it_waits_a_short_time(
    make_site: Callable[..., Site], admin: redis.Redis, server: EmbeddedServer
) -> None:
    admin.execute_command(
        "ACL", "SETUSER", "worker", "on", ">secret", "~*", "&*", "+@all", "-client|unblock"
    )
    url = f"redis://worker:secret@{HOST}:{server.port}/0"
    site = make_site(tasks=[TASKS], settings=worker_settings(url=url))
    with site.worker("-P", "solo") as worker:
        worker.wait_log("does not let this user run CLIENT UNBLOCK")
        wait_until(lambda: next_wait(admin) == 4, 90)
        assert worker.stop(timeout=AT_ONCE) == 0
    admin.execute_command("ACL", "DELUSER", "worker")


@pytest.mark.parametrize(
    ("settings", "seconds"),
    [
        (worker_settings(), 60),
        (worker_settings("balanced"), 4),
        (worker_settings("default"), 1),
        (worker_settings(REDIS_OPTIMIZER={"ENABLED": False}), 1),
    ],
    ids=["metered", "balanced", "default", "off"],
)
def test_how_long_it_waits(
    make_site: Callable[..., Site], admin: redis.Redis, settings: dict[str, Any], seconds: float
) -> None:
    with make_site(tasks=[TASKS], settings=settings).worker("-P", "solo"):
        wait_until(lambda: next_wait(admin) == seconds, 90)


def test_a_process_hears_workers_as_often_as_it_asks(quiet_site: Site, admin: redis.Redis) -> None:
    with quiet_site.worker("-P", "threads", "-c", "2"):
        wait_for_wait(admin)
        ask = "print(app.control.inspect(timeout=3, limit=1).ping())\n"
        assert quiet_site.produce(ask * 3).stdout.count("pong") == 3


def test_a_worker_of_the_sites_own_interval_stops_at_once(
    make_site: Callable[..., Site], admin: redis.Redis
) -> None:
    options = {"CELERY_BROKER_TRANSPORT_OPTIONS": {"polling_interval": 60}}
    flags = ("--without-gossip", "--without-mingle")
    with make_site(tasks=[TASKS], settings=options).worker("-P", "solo", *flags) as worker:
        wait_until(lambda: next_wait(admin) == 60, 90)
        wait_for_wait(admin)
        assert worker.stop(timeout=AT_ONCE) == 0


@pytest.mark.slow
@pytest.mark.parametrize(("pool", "stops"), [("threads", 4), ("prefork", 1), ("solo", 2)])
def test_jobs_that_come_while_workers_stop_are_not_lost(
    quiet_site: Site, admin: redis.Redis, pool: str, stops: int
) -> None:
    sender = subprocess.Popen(
        [sys.executable, "-c", SENDER],
        cwd=ROOT,
        env=quiet_site.environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    for _ in range(stops):
        before = len(runs.rows(quiet_site.runs))
        with quiet_site.worker("-P", pool, "-c", "2") as worker:
            wait_until(lambda before=before: len(runs.rows(quiet_site.runs)) > before)
            assert worker.stop(timeout=BUSY) == 0
        assert admin.hlen("unacked") == 0
    sent = int(sender.communicate("", timeout=60)[0])
    assert sent > 0
    with quiet_site.worker("-P", "threads", "-c", "4"):
        wait_until(lambda: len(_seen(quiet_site)) == sent, 120)
        wait_until(lambda: admin.hlen("unacked") == 0)


def _seen(site: Site) -> set[str]:
    return {note for _, note, _ in runs.rows(site.runs)}
