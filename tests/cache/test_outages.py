"""A server that is gone: what django-redis does, at once, and the tier comes back by itself."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis

from redis_optimizer.cache import TieredCache
from redis_optimizer.embedded import EmbeddedServer
from tests.servers import wait_until

from .caches import QUICK, is_kept, keep, plain, tiered

# One try: redis-py's own retries are not what is tested here.
POOL = {"retry_on_error": [], "socket_timeout": 1, "socket_connect_timeout": 1}
READS: dict[str, Callable[[Any], Any]] = {
    "get": lambda cache: cache.get("k", "default"),
    "get_many": lambda cache: cache.get_many(["k", "l"]),
    "has_key": lambda cache: cache.has_key("k"),
    "get_or_set": lambda cache: cache.get_or_set("k", "made"),
}
WRITES: dict[str, Callable[[Any], Any]] = {
    "set": lambda cache: cache.set("k", 1),
    "add": lambda cache: cache.add("k", 1),
    "delete": lambda cache: cache.delete("k"),
    "incr": lambda cache: cache.incr("k"),
    "delete_many": lambda cache: cache.delete_many(["k"]),
    "clear": lambda cache: cache.clear(),
}
CALLS = {**READS, **WRITES}


@pytest.fixture
def own() -> Iterator[EmbeddedServer]:
    """Run a server for the test alone."""
    with EmbeddedServer(persistent=True) as server:
        yield server


def gone(own: EmbeddedServer, **options: Any) -> tuple[TieredCache, Any]:
    """Return a warm cache whose server is gone, and django-redis's."""
    cache = tiered(own.url, l1=QUICK, CONNECTION_POOL_KWARGS=POOL, **options)
    keep(cache, {"k": 1})
    own.kill()
    wait_until(lambda: not cache.tier.ready)
    return cache, plain(own.url, CONNECTION_POOL_KWARGS=POOL, **options)


def test_it_raises_what_django_redis_raises(own: EmbeddedServer) -> None:
    cache, theirs = gone(own)
    for call in CALLS.values():
        with pytest.raises(redis.RedisError) as expected:
            call(theirs)
        with pytest.raises(expected.type):
            call(cache)


def test_ignored_exceptions_give_what_django_redis_gives(own: EmbeddedServer) -> None:
    cache, theirs = gone(own, IGNORE_EXCEPTIONS=True)
    for name, call in CALLS.items():
        assert call(cache) == call(theirs), name
    assert cache.set_many({"k": 1, "l": 2}) == ["k", "l"]  # those that failed, as Django has it


def test_a_frozen_server_is_a_timeout_and_nothing_is_served_beyond_the_bound(
    own: EmbeddedServer,
) -> None:
    cache = tiered(own.url, l1=QUICK, CONNECTION_POOL_KWARGS=POOL)
    keep(cache, {"k": 1})
    own.freeze()
    try:
        wait_until(lambda: not is_kept(cache, "k"))
        with pytest.raises(redis.TimeoutError):
            cache.get("k")
    finally:
        own.thaw()


def test_it_comes_back_with_the_server(own: EmbeddedServer) -> None:
    cache, theirs = gone(own)
    with pytest.raises(redis.RedisError):
        cache.get("k")
    own.restart()
    wait_until(lambda: cache.tier.ready)
    keep(cache, {"k": 2})
    theirs.set("k", 3)
    wait_until(lambda: not is_kept(cache, "k"))
    assert cache.get("k") == 3


def test_it_starts_when_a_server_comes_late() -> None:
    own = EmbeddedServer()
    cache = tiered(own.url, ready=False, l1=QUICK, CONNECTION_POOL_KWARGS=POOL)
    with pytest.raises(redis.ConnectionError):
        cache.get("k")
    with own:
        assert cache.tier.wait_ready(10)
        keep(cache, {"k": 1})


@pytest.mark.parametrize(
    "client", ["django_redis.client.HerdClient", "django_redis.client.ShardClient"]
)
def test_a_client_that_reads_in_its_own_way_has_no_tier(url: str, client: str) -> None:
    cache = tiered(url, ready=False, CLIENT_CLASS=client)
    with pytest.raises(AttributeError, match="no in-process tier"):
        _ = cache.tier
    cache.set("k", [1])
    plain(url, CLIENT_CLASS=client).set("k", [2])
    assert cache.get("k") == [2]
    assert cache.get_or_set("k", [3]) == [2]
    assert cache.stats() == {}
