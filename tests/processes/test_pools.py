"""Every pool of a Celery worker: jobs read the cache in process, hear of writes, and send jobs."""

import subprocess

import pytest
import redis

from redis_optimizer.embedded import EmbeddedServer
from tests.missing import go_without
from tests.processes.served import (
    FOR_ALL,
    WARNINGS,
    has_package,
    labels,
    no_connection_stays,
    reads,
    trouble,
)
from tests.servers import wait_until
from tests.tasks.processes import Site
from tests.tasks.site import runs

pytestmark = pytest.mark.slow

ORDERS = """
import sys
from django.core.cache import cache
from tests.processes.site.jobs import KEY, look, send_on
orders = {
    "look": lambda count: [look.delay() for _ in range(int(count))],
    "send": lambda *labels: [send_on.delay(label) for label in labels],
    "write": lambda value: cache.set(KEY, value),
}
for line in sys.stdin:
    order, *given = line.split()
    orders[order](*given)
    print("done", flush=True)
"""
POOLS = {
    "prefork": ("-P", "prefork", "-c", "2"),
    "threads": ("-P", "threads", "-c", "2"),
    "solo": ("-P", "solo"),
    "gevent": ("-P", "gevent", "-c", "2"),
}
AS_ROOT = "SecurityWarning"


class Orders:
    """A process that sends jobs and writes to the cache when it is told to."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process

    def __call__(self, *order: object) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(" ".join(map(str, order)) + "\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "done\n"


@pytest.mark.parametrize("pool", POOLS)
def test_a_worker_with_the_pool(
    pool: str,
    site: Site,
    server: EmbeddedServer,
    admin: redis.Redis,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if pool == "gevent" and not has_package("gevent"):
        go_without("gevent is not installed: it comes with the extra [test]")
    monkeypatch.setenv("PYTHONWARNINGS", WARNINGS)
    processes = 2 if pool == "prefork" else 1

    def looks() -> list[tuple[str, int]]:
        return [(note, pid) for job, note, pid in runs.rows(site.runs) if job == "look"]

    def ask(count: int) -> list[tuple[str, int]]:
        """Have some jobs look, and return what those noted."""
        before = len(looks())
        order("look", count)
        wait_until(lambda: len(looks()) == before + count, FOR_ALL)
        return looks()[before:]

    def wait_all(note: str) -> set[int]:
        """Have jobs look until each process has noted this; return their ids."""
        seen: set[int] = set()

        def have_all() -> bool:
            seen.update(pid for found, pid in ask(4) if found == note)
            return len(seen) == processes

        wait_until(have_all, FOR_ALL)
        return seen

    with no_connection_stays(admin), site.start(ORDERS) as producer:
        order = Orders(producer)
        order("write", "first")
        with site.worker(*POOLS[pool]) as worker:
            pids = wait_all("first, kept")
            with reads(server) as commands:
                assert {note for note, _ in ask(20)} == {"first, kept"}
            assert commands == []
            order("write", "second")
            assert wait_all("second, kept") == pids

            order("send", "a", "b", "c", "d")
            wait_until(lambda: runs.counts(site.runs)["sent"] == 4, FOR_ALL)
            assert runs.counts(site.runs)["buffered"] == 0
            assert worker.stop() == 0
            # What left while the worker still took jobs has run in it.
            ran = [note for job, note, _ in runs.rows(site.runs) if job == "buffered"]
            assert sorted(ran + labels(admin)) == ["a", "b", "c", "d"]
            assert trouble(worker.log, AS_ROOT) == []
