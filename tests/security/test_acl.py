"""The rules on the page of security are enough for all that a site does, and for little else."""

import contextlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import redis
from django.core.cache import caches
from django.test import override_settings

from redis_optimizer.connections import celery_settings
from redis_optimizer.embedded import HOST, EmbeddedServer
from redis_optimizer.stats import gather, orders
from redis_optimizer.switches import reset
from tests.cache.caches import QUIET, is_kept, settle, wait_dropped
from tests.cache.calls import CALLS, fill, outcome
from tests.servers import wait_until
from tests.tasks.processes import ROOT, Site
from tests.tasks.site import runs

PAGE = ROOT / "docs" / "security.rst"
RULES = re.findall(r"^ +ACL SETUSER (.+)$", PAGE.read_text(), re.MULTILINE)
PREFIX = "shop"  # as the page has it
NEWER = "+client|setinfo"  # than Redis 7.0
PATIENT = 60.0  # seconds that a busy machine may take
SOON = {
    "visibility_timeout": 3,
    "unacked_restore_interval": 1,
    "unacked_restore_throttle": 1,
    "unacked_mutex_expire": 2,  # of a worker that is killed while it holds that
}
APPS = [
    *(f"django.contrib.{name}" for name in ("admin", "auth", "contenttypes")),
    *("django_celery_results", "redis_optimizer"),
]
TASKS = "tests.security.tasks"
OPENERS = "redis_optimizer:default:openers:celery.batches"

EVERYBODY = [
    ("FLUSHALL",),
    ("CONFIG", "GET", "requirepass"),
    ("ACL", "LIST"),
    ("MONITOR",),
    ("SHUTDOWN", "NOSAVE"),
    ("CLIENT", "KILL", "TYPE", "normal"),
    ("SCRIPT", "FLUSH"),
    ("GET", "of-another-site"),
    ("SET", "redis_optimizer:other:switches", "x"),
    ("PUBLISH", "redis_optimizer:other", "x"),
    ("EVAL", "return redis.call('GET', KEYS[1])", 1, "of-another-site"),
]
REFUSED = {
    "cache": [
        ("LPUSH", "celery", "job"),
        ("GET", "celery-task-meta-1"),
        ("LRANGE", "celery", 0, 9),
    ],
    "producer": [
        *(("GET", "shop:1:k"), ("SET", "redis_optimizer:default:switches", "x"), ("FLUSHDB",)),
        *(
            ("PUBLISH", "redis_optimizer:default", "x"),
            ("KEYS", "*"),
            ("RPOP", "celery"),
        ),
    ],
    "worker": [
        *(("GET", "shop:1:k"), ("SET", "redis_optimizer:default:switches", "x"), ("FLUSHDB",)),
        *(("PUBLISH", "redis_optimizer:default", "x"), ("KEYS", "*"), ("SCAN", 0)),
    ],
    "operator": [("KEYS", "*"), ("RPUSH", "celery", "job"), ("CONFIG", "SET", "maxmemory", "1")],
}

JOBS = f"""
from celery import chord
from redis_optimizer.health.checks import Broker, Workers
from redis_optimizer.tasks import batch
from {TASKS} import ALL, again, batched, killing, together
results = [batched.delay(n) for n in range(3)]
results += [together.delay(n) for n in range(3)]
with batch():
    results += [again.delay(), again.delay()]
for task in ALL.values():
    results += [task.delay("a", n) for n in range(2)]
results.append(chord([again.si(), again.si()])(again.si()))
assert len([result.get(timeout={PATIENT}) for result in results]) == len(results)
results[0].forget()
results[1].revoke()
assert app.control.ping(timeout={PATIENT}, limit=1)
Broker(app=app).run()
Workers(app=app).run()
[killing.delay(n, PATH) for n in range(6)]
"""

OPERATOR = """
from django.core.cache import cache
from django.core.management import call_command
from redis_optimizer.admin.broker import ask_broker
from redis_optimizer.admin.servers import ask_servers
assert cache.tier.wait_ready(30)
assert not [server.error for server in ask_servers(are_heard=False) if server.error]
for name, options in (
    ("doctor", {"seconds": 1}),
    ("stats", {}),
    ("switch", {"part": "endpoints", "state": "off"}),
    ("switch", {"part": "endpoints", "state": "on"}),
    ("prune", {}),
    ("flush", {}),
    ("flush", {"explode": True}),
    ("clear", {"cache": ["default"], "interactive": False}),
):
    call_command(f"redis_optimizer_{name}", **options)
"""


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(None, id="valkey"),
        pytest.param(
            "redis-server",
            id="redis",
            marks=pytest.mark.skipif(
                not shutil.which("redis-server") and "CI" not in os.environ,
                reason="install redis-server",
            ),
        ),
    ],
)
def ruled(request: pytest.FixtureRequest) -> Iterator[EmbeddedServer]:
    """Run a server with the users of the page."""
    binary = shutil.which(request.param) if request.param else None
    with EmbeddedServer(binary=binary) as server, redis.Redis(HOST, server.port) as admin:
        version = admin.info("server")["redis_version"].split(".")
        is_old = [int(part) for part in version[:2]] < [7, 2]
        for rule in RULES:
            if not (is_old and NEWER in rule):
                admin.execute_command("ACL", "SETUSER", *rule.split())
        yield server


@pytest.fixture
def root(ruled: EmbeddedServer) -> Iterator[redis.Redis]:
    """Yield a client that may do all."""
    with redis.Redis(HOST, ruled.port, decode_responses=True) as client:
        client.flushall()
        client.acl_log_reset()
        yield client


@contextlib.contextmanager
def nothing_refused(root: redis.Redis) -> Iterator[None]:
    """Assert that the server refused nothing to anybody."""
    try:
        yield
    finally:
        told = [f"{e['username']}: {e['reason']} {e['object']}" for e in root.acl_log()]
        assert not told, f"ACL LOG: {told}"


def url(server: EmbeddedServer, user: str, database: int = 0) -> str:
    """Return the URL by which a user of the page comes in."""
    return f"redis://{user}:{user}-password@{HOST}:{server.port}/{database}"


def cache_settings(server: EmbeddedServer, user: str = "cache") -> dict[str, Any]:
    """Return CACHES: one that signs, one whose loaders are one for the fleet."""
    backend = "redis_optimizer.cache.TieredCache"
    where = {"BACKEND": backend, "LOCATION": url(server, user, 1), "KEY_PREFIX": PREFIX}
    return {
        "default": {**where, "OPTIONS": {"SIGNED": True, "L1": QUIET}},
        "fleet": {**where, "OPTIONS": {"L1": {**QUIET, "SINGLE_FLIGHT": "fleet"}}},
    }


@pytest.fixture
def used(ruled: EmbeddedServer) -> Iterator[None]:
    """Use the caches in this process."""
    with override_settings(CACHES=cache_settings(ruled)):
        for alias in caches:
            tier: Any = caches[alias].tier  # type: ignore[attr-defined]
            assert tier.wait_ready(PATIENT), tier.channel.last_error
        yield
        reset()


def site_of(directory: Path, server: EmbeddedServer, user: str) -> Site:
    """Return a site whose processes come to the broker as a user."""
    given = celery_settings(
        url(server, user), profile="metered", keepalive=0, transport_options=SOON
    )
    caches_of = "operator" if user == "operator" else "cache"
    settings = {"CACHES": cache_settings(server, caches_of), **given}
    if user == "operator":  # who sees the admin's page
        settings["INSTALLED_APPS"] = APPS
    path = directory / user
    path.mkdir()
    return Site(path, server.port, tasks=[TASKS], settings=settings)


@pytest.mark.usefixtures("used")
def test_the_cache(ruled: EmbeddedServer, root: redis.Redis) -> None:
    cache: Any = caches["default"]
    with nothing_refused(root):
        for call in CALLS:
            fill(cache)
            assert outcome(lambda call=call: call(cache)) != (
                "raised",
                redis.exceptions.NoPermissionError,
            )
        cache.set("k", "mine")
        settle(cache)
        assert cache.get("k") == "mine"
        assert is_kept(cache, "k")
        with redis.Redis(HOST, ruled.port, db=1) as other:
            other.set(f"{PREFIX}:1:k", "theirs")
            wait_dropped(cache, "k")
            assert cache.get_or_set("k", lambda: "made again") == "made again"
            fleet: Any = caches["fleet"]
            assert fleet.get_or_set("loaded", lambda: [1]) == [1]
            with pytest.raises(ZeroDivisionError):
                fleet.get_or_set("failed", lambda: 1 / 0)
            other.set(f"{PREFIX}:1:held:redis_optimizer.lock", "without an end")
            asked = Thread(target=fleet.get_or_set, args=("held", 1))
            asked.start()
            wait_until(lambda: other.ttl(f"{PREFIX}:1:held:redis_optimizer.lock") > 0, PATIENT)
            other.delete(f"{PREFIX}:1:held:redis_optimizer.lock")
            asked.join(PATIENT)
            assert fleet.get("held") == 1
        cache.clear()


@pytest.mark.usefixtures("used")
def test_what_processes_ask_each_other(root: redis.Redis) -> None:
    with nothing_refused(root):
        assert len(gather(PATIENT).processes) == 1
        for on in (False, True):
            gathered = orders.switch("endpoints", on, timeout=PATIENT)
            assert (len(gathered.processes), gathered.unkept) == (1, [])
            assert orders.read_states()["endpoints"].on is on
        assert len(orders.clear(timeout=PATIENT).processes) == 1
        assert len(orders.flush(timeout=PATIENT).processes) == 1


@pytest.mark.slow
def test_jobs(tmp_path: Path, ruled: EmbeddedServer, root: redis.Redis) -> None:
    workers, web = (site_of(tmp_path, ruled, user) for user in ("worker", "producer"))
    with nothing_refused(root):
        with workers.worker("-c", "1") as worker:
            web.produce(f"PATH = {str(tmp_path / 'killed')!r}\n{JOBS}")
            wait_until(lambda: worker.process.poll() is not None, PATIENT)
        with workers.worker("-c", "1") as worker:
            wait_until(lambda: len(done(workers)) == 6, PATIENT)
            wait_until(lambda: not root.exists("unacked"), PATIENT)
            worker.stop()
        # An envelope that no worker is there for any more.
        root.zadd(OPENERS, {"gone": 9e9})
        send = f"from {TASKS} import batched; [batched.delay(n) for n in range(3)]"
        web.produce(send)
        assert root.llen("celery.batches") == 1
        root.delete(OPENERS)
        web.produce(send)
        assert root.llen("celery.batches") == 0
        assert root.llen("celery") == 6


def done(site: Site) -> set[str]:
    return {note for _, note, _ in runs.rows(site.runs) if note.startswith("survived")}


@pytest.mark.slow
def test_the_operator(tmp_path: Path, ruled: EmbeddedServer, root: redis.Redis) -> None:
    web, operator = (site_of(tmp_path, ruled, user) for user in ("producer", "operator"))
    root.zadd(OPENERS, {"gone": 9e9})
    web.produce(f"from {TASKS} import batched; [batched.delay(n) for n in range(3)]")
    for n in range(9):
        meta = {"status": "SUCCESS", "task_id": str(n), "name": "t", "date_done": "2026-01-01"}
        root.set(f"celery-task-meta-{n}", json.dumps(meta))
    # A job that waits in a worker until it is due.
    waiting = {"headers": {"task": "t", "eta": "2099-01-01T00:00:00+00:00"}}
    root.hset("unacked", "a", json.dumps([waiting, "celery", "celery"]))
    root.zadd("unacked_index", {"a": 1})
    with nothing_refused(root):
        web.produce('import django.core.management as m; m.call_command("redis_optimizer_prune")')
        operator.produce(OPERATOR)
    assert (root.llen("celery.batches"), root.llen("celery")) == (0, 3)
    assert sum(root.ttl(f"celery-task-meta-{n}") > 0 for n in range(9)) == 4


@pytest.mark.parametrize("user", REFUSED)
def test_what_is_refused(ruled: EmbeddedServer, root: redis.Redis, user: str) -> None:
    with redis.Redis.from_url(url(ruled, user)) as client:
        for command in (*EVERYBODY, *REFUSED[user]):
            with pytest.raises(redis.exceptions.NoPermissionError):
                client.execute_command(*command)
