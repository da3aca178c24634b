"""SINGLE_FLIGHT "fleet": one loader for all processes."""

import asyncio
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis

from redis_optimizer.cache import TieredCache
from redis_optimizer.cache.fleet import FleetLock
from tests.servers import wait_until

from .caches import QUIET, command_calls, counted, plain, settle, tiered

FLEET = {**QUIET, "SINGLE_FLIGHT": "fleet", "SINGLE_FLIGHT_TIMEOUT": 30}
LOCK = "t:1:k:redis_optimizer.lock"

PROCESS = """if True:
    import sys, time
    from django.conf import settings
    settings.configure()
    from tests.cache.caches import tiered
    cache = tiered(sys.argv[1], l1={fleet})
    def load():
        cache.client.get_client().incr("runs")
        print("loading", flush=True)
        sys.stdin.readline()
        return "made by " + sys.argv[2]
    print("ready", flush=True)
    sys.stdin.readline()
    print(cache.get_or_set("k", load), flush=True)
"""


class Process:
    """A process that calls get_or_set when told to; its loader ends when told to."""

    def __init__(self, url: str, name: str, **l1: Any) -> None:
        script = PROCESS.format(fleet={**FLEET, **l1})
        self.process = subprocess.Popen(
            [sys.executable, "-c", script, url, name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )

    def hear(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def tell(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def start(url: str) -> Iterator[Callable[..., Process]]:
    """Start processes, and end them with the test."""
    processes: list[Process] = []

    def start_one(name: str, **l1: Any) -> Process:
        processes.append(Process(url, name, **l1))
        return processes[-1]

    yield start_one
    for process in processes:
        process.end()


@pytest.fixture
def fleet(url: str) -> TieredCache:
    return tiered(url, l1=FLEET)


@pytest.fixture
def another(url: str) -> TieredCache:
    """Return a cache that shares nothing with `fleet` but the server, as another process would."""
    return tiered(url, l1={**FLEET, "MAX_ENTRIES": 9_999})


def test_two_processes_run_one_loader(start: Callable[..., Process], admin: redis.Redis) -> None:
    first, second = start("first"), start("second")
    assert (first.hear(), second.hear()) == ("ready", "ready")
    first.tell()
    assert first.hear() == "loading"
    with counted(admin) as calls:
        second.tell()
        wait_until(lambda: command_calls(admin).get("evalsha"))
        time.sleep(0.3)  # it waits for news and does not ask again
    # One of the GETs is inside the script. That the lock was taken may be news that comes late, and
    # is asked about once.
    assert calls["evalsha"] <= 2
    assert calls["get"] == calls["evalsha"] + 1
    first.tell()
    assert (first.hear(), second.hear()) == ("made by first", "made by first")
    assert admin.get("runs") == "1"
    assert not admin.exists(LOCK)


def test_when_the_loading_process_is_killed_another_takes_over_as_its_time_ends(
    start: Callable[..., Process], admin: redis.Redis
) -> None:
    first = start("first", SINGLE_FLIGHT_TIMEOUT=1.5)
    second = start("second", SINGLE_FLIGHT_TIMEOUT=1.5)
    assert (first.hear(), second.hear()) == ("ready", "ready")
    first.tell()
    assert first.hear() == "loading"
    second.tell()
    first.process.send_signal(signal.SIGKILL)
    until = time.monotonic() + admin.pttl(LOCK) / 1000
    assert second.hear() == "loading"
    assert time.monotonic() >= until - 0.05
    second.tell()
    assert second.hear() == "made by second"


def test_the_lock_is_under_the_tracked_prefix(fleet: TieredCache, admin: redis.Redis) -> None:
    def load() -> str:
        assert 29_000 < admin.pttl(LOCK) <= 30_000
        return "made"

    assert fleet.get_or_set("k", load) == "made"
    assert admin.keys("*lock*") == []


def test_a_loader_that_fails_gives_the_lock_back_at_once(
    fleet: TieredCache, another: TieredCache, admin: redis.Redis
) -> None:
    with pytest.raises(ZeroDivisionError):
        fleet.get_or_set("k", lambda: 1 / 0)
    assert not admin.exists(LOCK)
    assert another.get_or_set("k", "made") == "made"


def test_a_loader_that_fails_while_redis_does_keeps_its_own_error(
    fleet: TieredCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(lock: FleetLock) -> None:
        raise redis.ConnectionError

    monkeypatch.setattr(FleetLock, "release", fail)
    with pytest.raises(ZeroDivisionError):
        fleet.get_or_set("k", lambda: 1 / 0)


def test_one_that_was_too_slow_does_not_overwrite(
    fleet: TieredCache, another: TieredCache, admin: redis.Redis, url: str
) -> None:
    def slow() -> str:
        admin.delete(LOCK)  # its time is up
        assert another.get_or_set("k", "theirs") == "theirs"
        admin.set(LOCK, "token of a third one")
        return "too late"

    assert fleet.get_or_set("k", slow) == "theirs"
    assert plain(url).get("k") == "theirs" == fleet.get("k")
    assert admin.get(LOCK) == "token of a third one"


def test_what_is_written_while_it_loads_is_not_overwritten(fleet: TieredCache, url: str) -> None:
    def slow() -> str:
        fleet.set("k", "newer")
        return "older"

    assert fleet.get_or_set("k", slow) == "newer"
    assert plain(url).get("k") == "newer" == fleet.get("k")


def test_a_key_that_is_there_but_cannot_be_read_does_not_stop_it(
    url: str, admin: redis.Redis
) -> None:
    cache = tiered(url, l1={**QUIET, "SINGLE_FLIGHT": "fleet"}, IGNORE_EXCEPTIONS=True)
    cache.sadd("k", 1)
    admin.config_resetstat()
    assert cache.get_or_set("k", "made") == "made"
    assert sum(command_calls(admin).values()) < 20
    assert cache.scard("k") == 1


def test_an_owner_that_asks_again_has_the_lock(fleet: TieredCache) -> None:
    lock = FleetLock(fleet.client.get_client(write=True), "t:1:k", 5)
    assert lock.acquire() == 0
    assert lock.acquire() == 0  # redis-py repeats a command whose reply was lost


async def test_a_coroutine_that_is_cancelled_as_it_asks_leaves_no_lock(
    fleet: TieredCache, admin: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    acquire = FleetLock.acquire
    asking, go_on = threading.Event(), threading.Event()

    def slow(lock: FleetLock) -> Any:
        asking.set()
        assert go_on.wait(60)
        return acquire(lock)

    monkeypatch.setattr(FleetLock, "acquire", slow)
    task = asyncio.create_task(fleet.aget_or_set("k", "made"))
    await asyncio.to_thread(asking.wait, 10)
    task.cancel()
    await asyncio.sleep(0)
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not admin.exists(LOCK)


def test_a_value_stored_between_the_look_and_the_lock_is_taken(
    fleet: TieredCache, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    acquire = FleetLock.acquire

    def late(lock: FleetLock) -> Any:
        plain(url).set("k", "theirs")
        return acquire(lock)

    monkeypatch.setattr(FleetLock, "acquire", late)
    assert fleet.get_or_set("k", "ours") == "theirs"
    assert fleet.get_or_set("k", "ours") == "theirs"


async def test_a_coroutine_takes_it_as_well(
    fleet: TieredCache, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    acquire = FleetLock.acquire

    def late(lock: FleetLock) -> Any:
        plain(url).set("k", "theirs")
        return acquire(lock)

    monkeypatch.setattr(FleetLock, "acquire", late)
    assert await fleet.aget_or_set("k", "ours") == "theirs"


def test_a_remembered_miss_runs_no_second_loader(
    fleet: TieredCache, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert fleet.get("k") is None
    fleet.tier.on_invalidated = lambda keys: None  # type: ignore[method-assign]  # still on its way
    plain(url).set("k", "theirs")
    assert fleet.get_or_set("k", "ours") == "theirs"


@pytest.mark.parametrize("tracking", [True, False], ids=["woken", "polling"])
def test_those_that_wait_get_what_the_loader_made(
    url: str, fleet: TieredCache, another: TieredCache, tracking: bool
) -> None:
    waits = another if tracking else tiered(url, l1={**FLEET, "COHERENCE": "ttl"})
    loading, go_on = threading.Event(), threading.Event()

    def load() -> str:
        loading.set()
        assert go_on.wait(60)
        return "made"

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(fleet.get_or_set, "k", load)
        assert loading.wait(60)
        second = pool.submit(waits.get_or_set, "k", "second")
        wait_until(lambda: waits.tier.store._watchers)
        go_on.set()
        assert (first.result(60), second.result(60)) == ("made", "made")
    assert waits.tier.store._watchers == {}


async def test_a_coroutine_waits_without_blocking_the_loop(
    fleet: TieredCache, another: TieredCache
) -> None:
    go_on = asyncio.Event()

    async def load() -> str:
        await go_on.wait()
        return "made"

    first = asyncio.create_task(fleet.aget_or_set("k", load))
    while not await fleet.ahas_key("k:redis_optimizer.lock"):
        await asyncio.sleep(0.01)
    second = asyncio.create_task(another.aget_or_set("k", "second"))
    while not another.tier.store._watchers:
        await asyncio.sleep(0.01)
    go_on.set()
    assert await asyncio.wait_for(asyncio.gather(first, second), 10) == ["made", "made"]


async def test_a_coroutine_that_is_cancelled_gives_the_lock_back(
    fleet: TieredCache, admin: redis.Redis
) -> None:
    task = asyncio.create_task(fleet.aget_or_set("k", asyncio.Event().wait))
    while not admin.exists(LOCK):
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not admin.exists(LOCK)


def test_a_channel_that_is_lost_wakes_those_that_wait(
    fleet: TieredCache, url: str, admin: redis.Redis
) -> None:
    admin.set(LOCK, "somebody", px=60_000)
    with ThreadPoolExecutor(1) as pool:
        waits = pool.submit(fleet.get_or_set, "k", "ours")
        wait_until(lambda: fleet.tier.store._watchers and admin.info("commandstats"))
        settle(fleet)
        # What is stored while the channel is down is found all the same.
        fleet.tier.on_invalidated = lambda keys: None  # type: ignore[method-assign]
        plain(url).set("k", "theirs")
        fleet.tier.channel._link.interrupt()
        assert waits.result(60) == "theirs"
