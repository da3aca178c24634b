"""get_or_set: callers that miss one key share one run of its loader."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis

from redis_optimizer.cache import TieredCache
from tests.servers import wait_until

from .caches import QUIET, counted, is_kept, keep, plain, settle, tiered

THREADS = 100


class Loader:
    """Counts its runs; each waits until `go_on` is set."""

    def __init__(self, value: Any = "made", error: Exception | None = None) -> None:
        self.value, self.error, self.runs = value, error, 0
        self.go_on = threading.Event()

    def __call__(self) -> Any:
        self.runs += 1
        assert self.go_on.wait(60)
        if self.error:
            raise self.error
        return self.value


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(THREADS) as executor:
        yield executor


def call_from_threads(cache: TieredCache, pool: ThreadPoolExecutor, loader: Loader) -> list[Any]:
    """Return what each of many callers got, that all came while the loader ran."""
    joined = cache.tier.flights.joined
    futures = [pool.submit(cache.get_or_set, "k", loader) for _ in range(THREADS)]
    wait_until(lambda: cache.tier.flights.joined - joined == THREADS - 1)
    loader.go_on.set()
    return [future.exception() or future.result() for future in futures]


@pytest.mark.parametrize("value", ["text", None, {"a": [1]}, 0], ids=repr)
def test_many_threads_run_one_loader(
    cache: TieredCache, pool: ThreadPoolExecutor, url: str, value: Any
) -> None:
    loader = Loader(value)
    assert call_from_threads(cache, pool, loader) == [value] * THREADS
    assert loader.runs == 1
    assert plain(url).get("k", "absent") == value
    assert cache.stats()["loads_shared"] == THREADS - 1


def test_each_caller_gets_a_value_of_its_own(cache: TieredCache, pool: ThreadPoolExecutor) -> None:
    found = call_from_threads(cache, pool, Loader({"a": [1]}))
    assert len({id(value) for value in found}) == THREADS


def test_a_loader_that_fails_fails_all_who_wait_and_leaves_nothing(
    cache: TieredCache, pool: ThreadPoolExecutor
) -> None:
    loader = Loader(error=ZeroDivisionError("no"))
    errors = call_from_threads(cache, pool, loader)
    assert {id(error) for error in errors} == {id(loader.error)}
    assert loader.runs == 1
    assert not cache.has_key("k")
    assert len(cache.tier.flights) == 0
    assert cache.get_or_set("k", "made") == "made"


def test_without_sharing_each_runs_its_own(url: str, pool: ThreadPoolExecutor) -> None:
    cache = tiered(url, l1={**QUIET, "SINGLE_FLIGHT": "off"})
    loader = Loader()
    futures = [pool.submit(cache.get_or_set, "k", loader) for _ in range(5)]
    wait_until(lambda: loader.runs == 5)
    loader.go_on.set()
    assert [future.result() for future in futures] == ["made"] * 5
    assert cache.get_or_set("k", "other") == "made"


@pytest.mark.parametrize("mode", ["process", "fleet", "off"])
def test_it_does_what_django_says(url: str, mode: str) -> None:
    cache = tiered(url, l1={**QUIET, "SINGLE_FLIGHT": mode})
    assert cache.get_or_set("value", "made", 60) == "made"
    assert 55 <= cache.ttl("value") <= 60
    assert cache.get_or_set("value", "other") == "made"
    assert cache.get_or_set("callable", lambda: "made", None) == "made"
    assert cache.ttl("callable") is None
    assert cache.get_or_set("default", "made") == "made"
    assert 590 <= cache.ttl("default") <= 600
    assert cache.get_or_set("version", "made", version=2) == "made"
    assert (cache.get("version"), cache.get("version", version=2)) == (None, "made")
    assert cache.get_or_set("none", lambda: None) is None
    assert cache.get("none", "absent") is None
    assert cache.get_or_set("past", "made", timeout=-1) in ("made", None)
    assert not cache.has_key("past")
    assert cache.get_or_set("int", 5) == 5
    assert plain(url).get("int") == 5


@pytest.mark.parametrize("mode", ["process", "fleet", "off"])
async def test_so_do_its_coroutines(url: str, mode: str) -> None:
    cache = tiered(url, l1={**QUIET, "SINGLE_FLIGHT": mode})

    async def make() -> str:
        await asyncio.sleep(0)
        return "made"

    assert await cache.aget_or_set("value", "made", 60) == "made"
    assert 55 <= cache.ttl("value") <= 60
    assert await cache.aget_or_set("value", "other") == "made"
    assert await cache.aget_or_set("callable", lambda: "made", None) == "made"
    assert await cache.aget_or_set("coroutine", make, version=2) == "made"
    assert (cache.get("coroutine"), cache.get("coroutine", version=2)) == (None, "made")
    assert await cache.aget_or_set("none", lambda: None) is None
    assert await cache.aget("none", "absent") is None


async def test_many_tasks_run_one_loader_and_the_loop_goes_on(cache: TieredCache) -> None:
    runs, go_on = 0, asyncio.Event()

    async def load() -> dict[str, int]:
        nonlocal runs
        runs += 1
        await go_on.wait()
        return {"a": 1}

    tasks = [asyncio.create_task(cache.aget_or_set("k", load)) for _ in range(THREADS)]
    while cache.tier.flights.joined < THREADS - 1:
        await asyncio.sleep(0.001)  # only a loop that is not blocked comes here
    go_on.set()
    assert await asyncio.gather(*tasks) == [{"a": 1}] * THREADS
    assert runs == 1


async def test_tasks_and_threads_run_one_loader(
    cache: TieredCache, pool: ThreadPoolExecutor
) -> None:
    loader = Loader()
    future = pool.submit(cache.get_or_set, "k", loader)
    wait_until(lambda: loader.runs)
    task = asyncio.create_task(cache.aget_or_set("k", loader))
    while cache.tier.flights.joined < 1:
        await asyncio.sleep(0.001)
    loader.go_on.set()
    assert (await task, future.result()) == ("made", "made")
    assert loader.runs == 1


def test_who_sets_the_key_meanwhile_wins(cache: TieredCache, pool: ThreadPoolExecutor) -> None:
    loader = Loader()
    future = pool.submit(cache.get_or_set, "k", loader)
    wait_until(lambda: loader.runs)
    cache.set("k", "theirs")
    loader.go_on.set()
    assert future.result() == "theirs" == cache.get("k")


def test_the_maker_gets_what_later_readers_get(url: str) -> None:
    cache = tiered(url, SERIALIZER="django_redis.serializers.json.JSONSerializer")
    assert cache.get_or_set("k", lambda: (1, 2)) == [1, 2] == cache.get("k")


def test_what_was_found_is_kept_as_by_get(cache: TieredCache, admin: redis.Redis) -> None:
    cache.set("k", {"a": 1})
    settle(cache)
    assert cache.get_or_set("k", dict) == {"a": 1}
    assert is_kept(cache, "k")
    with counted(admin) as calls:
        assert cache.get_or_set("k", dict) == {"a": 1}
    assert calls == {}


def test_a_remembered_miss_does_not_hide_what_another_process_made(
    cache: TieredCache, url: str
) -> None:
    keep(cache, {"other": 1})
    assert cache.get("k") is None

    def make() -> str:
        plain(url).set("k", "theirs")
        return "ours"

    assert cache.get_or_set("k", make) == "theirs"


def test_a_loader_may_need_another_key(cache: TieredCache) -> None:
    def outer() -> int:
        inner: int = cache.get_or_set("inner", lambda: 1)
        return inner + 1

    assert cache.get_or_set("outer", outer) == 2
    assert cache.get("inner") == 1


def test_a_loader_may_ask_for_its_own_key(cache: TieredCache) -> None:
    def load(depth: int = 0) -> int:
        found: int = depth if depth == 2 else cache.get_or_set("k", lambda: load(depth + 1))
        return found

    assert cache.get_or_set("k", load) == 2
