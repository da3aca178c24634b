"""A server that dies, hangs and comes back: nothing stale, nothing that hangs, and L1 returns."""

import time
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from redis_optimizer.cache import TieredCache
from redis_optimizer.embedded import EmbeddedServer
from tests.servers import connect, wait_until

from .caches import QUICK, QUIET, is_kept, keep, tiered, wait_dropped

ONCE = {"CONNECTION_POOL_KWARGS": {"retry": Retry(NoBackoff(), 0), "socket_timeout": 0.5}}
DEAD = (redis.ConnectionError, redis.TimeoutError)


@pytest.fixture
def own() -> Iterator[EmbeddedServer]:
    """Run a server that the test may harm."""
    with EmbeddedServer(persistent=True) as running:
        yield running
        running.thaw()


def comes_back(cache: TieredCache, own: EmbeddedServer) -> None:
    """Assert that the cache keeps values again, and hears of writes, without anybody's doing."""
    wait_until(lambda: cache.tier.ready)
    keep(cache, {"k": "before"})
    with connect(own) as other:
        other.set("t:1:k", 5)
    wait_dropped(cache, "k")
    assert cache.get("k") == 5


def test_a_server_that_dies_takes_what_was_kept_with_it(own: EmbeddedServer) -> None:
    cache = tiered(own.url, **ONCE)
    keep(cache, {"k": 1})
    own.kill()
    wait_until(lambda: not is_kept(cache, "k"))
    for call in (
        lambda: cache.get("k"),
        lambda: cache.get_many(["k"]),
        lambda: cache.has_key("k"),
        lambda: cache.set("k", 2),
        lambda: cache.get_or_set("k", 3),
    ):
        with pytest.raises(DEAD):
            call()
    own.restart()
    assert wait_until(lambda: cache.get("k")) == 1
    comes_back(cache, own)


def test_a_server_that_dies_is_ignored_if_asked_and_comes_back(own: EmbeddedServer) -> None:
    cache = tiered(own.url, IGNORE_EXCEPTIONS=True, **ONCE)
    keep(cache, {"k": 1})
    own.kill()
    wait_until(lambda: not is_kept(cache, "k"))
    assert cache.get("k", "default") == "default"
    assert cache.get_many(["k"]) == {}
    assert cache.get_or_set("k", lambda: "made") == "made"
    assert not is_kept(cache, "k")  # not even as a miss
    own.restart()
    wait_until(lambda: cache.get("k") == 1)
    comes_back(cache, own)


def test_a_frozen_server_is_vouched_for_until_the_bound_and_no_longer(own: EmbeddedServer) -> None:
    cache = tiered(own.url, l1=QUICK, **ONCE)
    keep(cache, {"k": 1})
    own.freeze()
    began = time.monotonic()
    served: list[float] = []

    def fails() -> bool:
        try:
            assert cache.get("k") == 1
        except DEAD:
            return True
        served.append(time.monotonic() - began)
        return False

    wait_until(fails)
    assert served  # nobody could write meanwhile
    assert max(served) <= QUICK["MAX_STALENESS"] + 0.1
    own.thaw()
    comes_back(cache, own)


def test_a_server_that_restarts_empty_is_not_answered_for(own: EmbeddedServer) -> None:
    cache = tiered(own.url, **ONCE)
    keep(cache, {"k": 1})
    own.kill()
    for file in own.directory.glob("appendonlydir/*"):
        file.unlink()
    own.restart()
    wait_until(lambda: not is_kept(cache, "k"))
    assert wait_until(lambda: _try_get(cache)) == "absent"
    comes_back(cache, own)


def _try_get(cache: TieredCache) -> Any:
    try:
        return cache.get("k", "absent")
    except DEAD:
        return None


def test_a_server_that_comes_late_is_found(own: EmbeddedServer) -> None:
    own.kill()
    cache = tiered(own.url, ready=False, l1=QUIET, **ONCE)
    for _ in range(3):
        with pytest.raises(DEAD):
            cache.get("k")
    own.restart()
    comes_back(cache, own)
