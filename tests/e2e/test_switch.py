"""Each part is switched off and on while processes read, send jobs and run them."""

import contextlib
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from celery import states as celery_states

from redis_optimizer.embedded import HOST, EmbeddedServer
from redis_optimizer.stats import orders
from redis_optimizer.stats.gather import gather
from redis_optimizer.switches import PARTS
from tests.servers import wait_until
from tests.tasks.processes import HEAD, ROOT, Site
from tests.tasks.site import runs
from tests.tasks.site.switched import BOUND

pytestmark = pytest.mark.slow

PATIENT = 30.0  # seconds that a busy machine may take
PRODUCERS = 2
CHILDREN = 2
CODE = f"{HEAD}\nfrom tests.tasks.site.switched import main\nmain()"


@pytest.fixture
def site(tmp_path: Path, server: EmbeddedServer) -> Site:
    l1 = {"HEARTBEAT": 0.1, "MAX_STALENESS": BOUND, "START_AFTER": 0}
    where = {"LOCATION": server.url, "KEY_PREFIX": "t"}
    tier = {"BACKEND": "redis_optimizer.cache.TieredCache", "OPTIONS": {"L1": l1}}
    url = f"redis://{HOST}:{server.port}/0"
    settings = {
        "CACHES": {
            "default": {**where, **tier},
            "plain": {**where, "BACKEND": "django_redis.cache.RedisCache"},
        },
        "CELERY_RESULT_BACKEND": f"redis_optimizer.tasks.results:RedisBackend+{url}",
        "REDIS_OPTIMIZER": {"KEEP_SUCCEEDED": 0},
    }
    return Site(tmp_path, server.port, tasks=["tests.tasks.site.switched"], settings=settings)


@contextlib.contextmanager
def producer(site: Site) -> Iterator["subprocess.Popen[str]"]:
    process = subprocess.Popen(
        [sys.executable, "-c", CODE],
        cwd=ROOT,
        env=site.environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def said(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def wait_for(number: int) -> None:
    """Wait until that many processes have a channel."""
    wait_until(lambda: len(gather(PATIENT).processes) == number, PATIENT)


def test_nothing_is_lost_and_nothing_is_stale(site: Site, admin: redis.Redis) -> None:
    everybody = PRODUCERS + 1 + CHILDREN
    done = threading.Event()
    admin.set("t:1:n", 1)

    def write() -> None:
        with redis.Redis(HOST, site.port) as client:
            while not done.wait(0.02):
                client.incr("t:1:n")

    writer = threading.Thread(target=write)
    writer.start()
    with contextlib.ExitStack() as stack:
        stack.callback(done.set)
        # All at once: each takes seconds to start.
        worker = stack.enter_context(site.worker("-c", str(CHILDREN), ready=False))
        producers = [stack.enter_context(producer(site)) for _ in range(PRODUCERS)]
        worker.wait_ready()
        for process in producers:
            assert said(process) == "ready"
        wait_for(everybody)
        for on in (False, True):
            for part in PARTS:
                gathered = orders.switch(part, on, by="test", timeout=PATIENT)
                assert len(gathered.processes) == everybody, gathered.silent
                assert orders.unconfirmed(gathered, part, on) == []
            if not on:
                late = stack.enter_context(producer(site))
                assert said(late) == "ready"
                producers.append(late)
                everybody += 1
                wait_for(everybody)
                for process in gather(PATIENT).processes:
                    assert process.totals["switches"] == dict.fromkeys(PARTS, False)
        flushed = orders.flush(timeout=PATIENT)
        assert len(flushed.processes) == everybody
        assert {process.totals["done"]["left"] for process in flushed.processes} == {0}
        reports = []
        for process in producers:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
            reports.append(json.loads(said(process)))
        assert [report["errors"] for report in reports] == [[]] * len(reports)
        assert [report["stale"] for report in reports] == [0] * len(reports)
        assert all(report["reads"] and report["sent"] for report in reports)
        jobs = {job for report in reports for job in report["sent"]}
        wait_until(lambda: jobs <= set(runs.counts(site.runs)), 120, 0.2)
        # Calls that are one job have a lock; each is released by the job that held it.
        wait_until(lambda: not admin.keys("redis_optimizer:default:dedup:*"), PATIENT)
    writer.join()
    ran = runs.counts(site.runs)
    assert set(ran) == jobs
    assert {job for job, number in ran.items() if number > 1} == set()
    stored = [json.loads(admin.get(key)) for key in admin.keys("celery-task-meta-*")]
    assert {result["status"] for result in stored} == {celery_states.SUCCESS}
