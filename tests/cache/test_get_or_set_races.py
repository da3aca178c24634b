"""A write between two calls of get_or_set: the second must not get what the first had read."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
import redis

from redis_optimizer.cache import TieredCache, fill
from tests.servers import wait_until

from .caches import plain

WITHIN = 60  # seconds


@pytest.fixture
def read_old(cache: TieredCache, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Start a call that has read "old" and goes on when told to; return how to tell it."""
    has_read, go_on = threading.Event(), threading.Event()
    get = fill.Fetch.get

    def slow_get(self: fill.Fetch, key: str) -> bytes | None:
        raw = get(self, key)
        if not has_read.is_set():
            has_read.set()
            assert go_on.wait(WITHIN)
        return raw

    cache.set("key", "old")
    monkeypatch.setattr(fill.Fetch, "get", slow_get)
    got: list[Any] = []
    thread = threading.Thread(target=lambda: got.append(cache.get_or_set("key", "made")))
    thread.start()
    assert has_read.wait(WITHIN)

    def finish() -> Any:
        go_on.set()
        thread.join(WITHIN)
        return got[0]

    yield finish
    go_on.set()
    thread.join(WITHIN)


def set_here(cache: TieredCache) -> None:
    cache.set("key", "new")


def clear_here(cache: TieredCache) -> None:
    cache.clear()
    cache.set("key", "new")


@pytest.mark.parametrize("write", [set_here, clear_here])
def test_own_write_is_seen_while_an_older_read_is_under_way(
    cache: TieredCache, read_old: Callable[[], Any], write: Callable[[TieredCache], None]
) -> None:
    write(cache)
    assert cache.get_or_set("key", "made") == "new"
    assert read_old() == "old"
    assert cache.get("key") == "new"


async def test_own_write_is_seen_by_a_coroutine(
    cache: TieredCache, read_old: Callable[[], Any]
) -> None:
    await cache.aset("key", "new")
    assert await asyncio.wait_for(cache.aget_or_set("key", "made"), WITHIN) == "new"
    assert read_old() == "old"


def test_a_write_that_was_told_of_ends_the_sharing(
    cache: TieredCache, read_old: Callable[[], Any], url: str, admin: redis.Redis
) -> None:
    plain(url).set("key", "new")
    wait_until(lambda: len(cache.tier.flights) == 0, WITHIN)
    assert cache.get_or_set("key", "made") == "new"
    assert read_old() == "old"
