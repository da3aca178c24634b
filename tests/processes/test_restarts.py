"""Everything is restarted under load: no request fails, no job is missing, nothing stays open."""

import contextlib
import http.client
import itertools
import signal
import threading
from collections.abc import Iterator

import pytest
import redis

from tests.missing import go_without
from tests.processes.served import (
    FOR_ALL,
    GUNICORN,
    UWSGI,
    Served,
    has_package,
    labels,
    no_connection_stays,
    served,
    trouble,
)
from tests.servers import wait_until
from tests.tasks.processes import Site
from tests.tasks.site import runs

pytestmark = pytest.mark.slow

THREADS = (*GUNICORN, "--threads", "2")
RECYCLING = {
    "gunicorn": (*THREADS, "--max-requests", "10", "--max-requests-jitter", "3"),
    "uWSGI": (*UWSGI, "--enable-threads", "--max-requests", "10"),
}
CLIENTS = 2
PAUSE = 0.1  # seconds of a client between two requests


class Visitors:
    """Clients that send a job with each request, and look at the page."""

    def __init__(self, server: Served) -> None:
        self.server = server
        self.numbers = itertools.count()
        self.sent: list[str] = []
        self.pids: set[int] = set()
        self.failures: list[str] = []
        self.stopping = threading.Event()
        self.threads = [threading.Thread(target=self.visit) for _ in range(CLIENTS)]

    def stop(self) -> None:
        """Let them end what they do."""
        self.stopping.set()
        for thread in self.threads:
            thread.join()

    def visit(self) -> None:
        while not self.stopping.wait(PAUSE):
            label = str(next(self.numbers))
            try:
                answer = self.server.get(f"/send-soon/{label}/")
                seen = self.server.get("/page/")
            except (OSError, http.client.HTTPException, AssertionError) as error:
                self.failures.append(f"{label}: {error!r}")
            else:
                self.sent.append(label)
                self.pids.add(answer["pid"])
                if seen["value"] != "first":
                    self.failures.append(f"{label}: {seen}")


@contextlib.contextmanager
def visited(server: Served) -> Iterator[Visitors]:
    """Have the site visited during the block."""
    visitors = Visitors(server)
    for thread in visitors.threads:
        thread.start()
    try:
        yield visitors
    finally:
        visitors.stop()


def ran(site: Site) -> set[str]:
    """Return the labels of the jobs that have run."""
    return {note for job, note, _ in runs.rows(site.runs) if job == "batched"}


def test_a_reload_of_gunicorn_and_a_warm_restart(site: Site, admin: redis.Redis) -> None:
    with (
        no_connection_stays(admin),
        site.worker("-c", "1") as first,
        served(site, THREADS) as server,
    ):
        server.get("/write/first/")
        with visited(server) as visitors:
            old = set(server.wait_all(lambda answer: answer["kept"]))
            server.process.send_signal(signal.SIGHUP)
            wait_until(lambda: len(visitors.pids - old) == 2, FOR_ALL)
            with site.worker("-c", "1") as second:
                assert first.stop() == 0
                count = len(ran(site))
                wait_until(lambda: len(ran(site)) > count, FOR_ALL)
                visitors.stop()
                assert server.stop() == 0
                wait_until(lambda: set(visitors.sent) <= ran(site), FOR_ALL)
                assert second.stop() == 0
    assert visitors.failures == []
    assert trouble(server.log) == []


@pytest.mark.parametrize("command", RECYCLING.values(), ids=RECYCLING)
def test_processes_that_are_replaced_after_some_requests(
    command: tuple[str, ...], site: Site, admin: redis.Redis
) -> None:
    if "uwsgi" in command[0] and not has_package("pyuwsgi"):
        go_without("pyuwsgi is not installed: it comes with the extra [test]")
    with (
        no_connection_stays(admin),
        served(site, command) as server,
    ):
        server.get("/write/first/")
        with visited(server) as visitors:
            wait_until(lambda: len(visitors.pids) >= 4, FOR_ALL)
        assert server.stop() == 0
        wait_until(server.is_gone)
    assert labels(admin) == sorted(visitors.sent)
    assert visitors.failures == []
    assert trouble(server.log) == []
