"""STALE_IF_ERROR: what was known takes the place of an answer that Redis does not give."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import redis
from django_redis import get_redis_connection

from redis_optimizer.cache import TieredCache, registry
from redis_optimizer.embedded import EmbeddedServer
from tests.servers import busy, connect, wait_until

from .caches import QUICK, QUIET, counted, deaf, is_kept, keep, kill_channels, plain, settle, tiered
from .calls import outcome
from .silence import silence
from .test_outages import POOL

L1 = {**QUICK, "STALE_IF_ERROR": 60}
KEY = "t:1:k"


@pytest.fixture
def own() -> Iterator[EmbeddedServer]:
    """Run a server for the test alone."""
    with EmbeddedServer(persistent=True) as server:
        yield server


def warm(own: EmbeddedServer, *, l1: Any = L1, **options: Any) -> TieredCache:
    """Return a cache that knows two keys, and that one does not exist."""
    cache = tiered(own.url, l1=l1, CONNECTION_POOL_KWARGS=POOL, **options)
    keep(cache, {"k": [1], "l": 2})
    assert cache.get("absent") is None
    return cache


def lose(cache: TieredCache, own: EmbeddedServer) -> None:
    own.kill()
    wait_until(lambda: not cache.tier.ready)


READS: dict[str, tuple[Callable[[TieredCache], Any], Any]] = {
    "get": (lambda cache: cache.get("k", "default"), [1]),
    "get_many": (lambda cache: cache.get_many(["k", "l"]), {"k": [1], "l": 2}),
    "has_key": (lambda cache: cache.has_key("k"), True),
    "in": (lambda cache: "k" in cache, True),
    "get_or_set": (lambda cache: cache.get_or_set("k", "made"), [1]),
    "aget": (lambda cache: asyncio.run(cache.aget("k")), [1]),
    "aget_many": (lambda cache: asyncio.run(cache.aget_many(["k", "l"])), {"k": [1], "l": 2}),
    "ahas_key": (lambda cache: asyncio.run(cache.ahas_key("k")), True),
    "aget_or_set": (lambda cache: asyncio.run(cache.aget_or_set("k", "made")), [1]),
}
FAILING: dict[str, Callable[[TieredCache], Any]] = {
    "get of a known miss": lambda cache: cache.get("absent"),
    "get of what was never read": lambda cache: cache.get("never"),
    "get_many of which one is not known": lambda cache: cache.get_many(["k", "never"]),
    "has_key of a known miss": lambda cache: cache.has_key("absent"),
    "get_or_set of a known miss": lambda cache: cache.get_or_set("absent", "made"),
    "get through a client": lambda cache: cache.get("k", client=cache.client.get_client()),
    "ttl": lambda cache: cache.ttl("k"),
    "keys": lambda cache: cache.keys("*"),
    "set": lambda cache: cache.set("other", 1),
    "incr": lambda cache: cache.incr("other"),
}


@pytest.mark.parametrize("ignored", [False, True])
def test_a_server_that_is_gone(own: EmbeddedServer, ignored: bool) -> None:
    cache = warm(own, IGNORE_EXCEPTIONS=ignored)
    theirs = plain(own.url, CONNECTION_POOL_KWARGS=POOL, IGNORE_EXCEPTIONS=ignored)
    lose(cache, own)
    for name, (read, expected) in READS.items():
        assert read(cache) == expected, name
    assert cache.stats()["stale_served"] == len(READS) + 2
    for name, call in FAILING.items():
        if not ignored:
            with pytest.raises(redis.ConnectionError):
                call(cache)
        elif "get_many" in name:
            assert call(cache) == {"k": [1]}
        elif "client" not in name:
            ours, expected = (outcome(partial(call, each)) for each in (cache, theirs))
            assert ours == expected, name
    assert cache.stats()["stale_served"] == len(READS) + 2 + ignored


def test_each_reader_has_a_value_of_its_own(own: EmbeddedServer) -> None:
    cache = warm(own)
    lose(cache, own)
    cache.get("k").append(2)
    assert cache.get("k") == [1]


def test_a_frozen_server(own: EmbeddedServer) -> None:
    cache = warm(own)
    own.freeze()
    try:
        wait_until(lambda: not is_kept(cache, "k"))
        assert cache.get("k") == [1]
        assert cache.stats()["stale_served"] == 1
    finally:
        own.thaw()


def test_a_server_that_is_busy_with_a_script(own: EmbeddedServer) -> None:
    cache = warm(own)
    with busy(own):
        wait_until(lambda: not is_kept(cache, "k"))
        for name, (read, expected) in READS.items():
            assert read(cache) == expected, name
        with pytest.raises(redis.ResponseError, match="BUSY"):
            cache.set("other", 1)
    wait_until(lambda: cache.tier.ready)


@pytest.mark.parametrize("exact", [True, False])
def test_a_busy_server_of_which_the_channel_has_not_heard_yet(
    own: EmbeddedServer, settings: Any, exact: bool
) -> None:
    settings.REDIS_OPTIMIZER = {"BREAKER_AFTER": 3}
    cache = warm(own, l1={**QUIET, "STALE_IF_ERROR": 60, "EXACT_TTL": exact})
    with busy(own):
        cache.tier.store.entries[KEY].expires_at = time.monotonic()
        for state in ("closed", "closed", "open", "open"):
            assert cache.get("k") == [1]
            assert cache.stats()["breaker"] == state
        assert cache.tier.ready


def test_not_beyond_the_bound(own: EmbeddedServer) -> None:
    cache = warm(own)
    lose(cache, own)
    cache.tier.store.now = lambda: time.monotonic() + 60
    with pytest.raises(redis.ConnectionError):
        cache.get("k")


REMOVALS: dict[str, Callable[[TieredCache, redis.Redis], Any]] = {
    "another client's write": lambda cache, admin: (admin.set(KEY, 2), settle(cache)),
    "another client's delete": lambda cache, admin: (admin.delete(KEY), settle(cache)),
    "a flush": lambda cache, admin: (
        admin.flushdb(),
        wait_until(lambda: not is_kept(cache, "k")),
    ),
    "an own write": lambda cache, admin: cache.set("k", 2),
    "clear": lambda cache, admin: cache.clear(),
    "delete_pattern": lambda cache, admin: cache.delete_pattern("k*"),
}


@pytest.mark.parametrize("name", REMOVALS)
def test_what_was_removed_before_is_gone(own: EmbeddedServer, name: str) -> None:
    cache = warm(own)
    with connect(own) as admin:
        REMOVALS[name](cache, admin)
    lose(cache, own)
    with pytest.raises(redis.ConnectionError):
        cache.get("k")


@pytest.mark.parametrize(
    "write",
    [
        lambda cache: cache.set("k", 2),
        lambda cache: cache.delete_many(["k"]),
        lambda cache: cache.incr_version("k"),
        lambda cache: cache.clear(),
    ],
    ids=["set", "delete_many", "incr_version", "clear"],
)
def test_a_write_whose_outcome_is_not_known_removes_too(
    own: EmbeddedServer, write: Callable[[TieredCache], Any]
) -> None:
    cache = warm(own)
    lose(cache, own)
    assert cache.get("k") == [1]
    with pytest.raises(redis.ConnectionError):
        write(cache)
    with pytest.raises(redis.ConnectionError):
        cache.get("k")


def test_an_error_that_redis_reports_is_no_outage(own: EmbeddedServer) -> None:
    for ignored in (False, True):
        cache = warm(own, l1={**QUIET, "STALE_IF_ERROR": 60}, IGNORE_EXCEPTIONS=ignored)
        with deaf(cache), connect(own) as admin:
            cache.tier.on_down()
            admin.delete(KEY)
            admin.lpush(KEY, "an item")
            if ignored:
                assert cache.get("k", "default") == "default"
            else:
                with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
                    cache.get("k")
            admin.delete(KEY)


def test_a_value_that_cannot_be_decoded_is_no_outage(own: EmbeddedServer) -> None:
    cache = warm(own)
    with deaf(cache), connect(own) as admin:
        cache.tier.on_down()
        admin.set(KEY, "no pickle")
        with pytest.raises(Exception, match=r"pickle|load key"):
            cache.get("k")


def test_what_was_read_without_being_kept_is_not_followed_by_something_older(
    own: EmbeddedServer,
) -> None:
    cache = warm(own)
    with deaf(cache), connect(own) as admin:
        cache.tier.on_down()  # as if the channel were lost and not yet there again
        admin.set(KEY, 2)
        admin.delete("t:1:l")
        assert cache.get("k") == 2
        assert cache.get_many(["l"]) == {}
    own.kill()
    for key in ("k", "l"):
        with pytest.raises(redis.ConnectionError):
            cache.get(key)


def test_nor_is_what_was_read_while_the_channel_said_nothing(own: EmbeddedServer) -> None:
    cache = warm(own)
    with silence(), connect(own) as admin:
        cache.tier.on_alive(0.0)  # its last PING was answered long ago
        admin.delete(KEY)
        assert not cache.has_key("k")  # which keeps nothing
        own.kill()
        with pytest.raises(redis.ConnectionError):
            cache.get("k")


def test_a_server_that_comes_back_is_believed(own: EmbeddedServer) -> None:
    cache = warm(own)
    lose(cache, own)
    assert cache.get("k") == [1]
    own.restart()
    wait_until(lambda: cache.tier.ready)
    assert not is_kept(cache, "k")
    with connect(own) as admin:
        admin.set(KEY, 2)
    assert cache.get("k") == 2
    settle(cache)
    wait_until(lambda: cache.get("k") == 2 and is_kept(cache, "k"))
    lose(cache, own)
    assert cache.get("k") == 2


def test_a_write_that_nobody_heard_of_is_seen_as_soon_as_redis_answers(own: EmbeddedServer) -> None:
    cache = warm(own)
    with connect(own) as admin:
        for value in range(2, 12):
            kill_channels(admin)
            admin.set(KEY, value)
            wait_until(lambda value=value: cache.get("k") == value)
            assert cache.get("k") == value
    assert cache.stats()["stale_served"] == 0


def test_a_replica_that_answers_is_better(own: EmbeddedServer) -> None:
    with EmbeddedServer() as other:
        with connect(other) as admin:
            admin.set(KEY, 7)
        cache = tiered(f"{own.url},{other.url}", l1=L1, CONNECTION_POOL_KWARGS=POOL)
        keep(cache, {"k": 1})
        lose(cache, own)
        assert cache.get("k") == 7
        assert cache.stats()["stale_served"] == 0
    with pytest.raises(redis.ConnectionError):
        cache.get("k")  # 1 is older than what the replica had


def test_a_replica_that_answers_in_place_of_the_primary_is_better(own: EmbeddedServer) -> None:
    with EmbeddedServer() as other:
        with connect(other) as admin:
            admin.set(KEY, 7)
        l1 = {"COHERENCE": "ttl", "START_AFTER": 0, "STALE_IF_ERROR": 60}
        cache = tiered(f"{own.url},{other.url}", l1=l1, CONNECTION_POOL_KWARGS=POOL)
        cache.set("k", 1)
        assert cache.get("k") == 1
        cache.tier.store.entries[KEY].expires_at = time.monotonic() - 1
        own.kill()
        assert cache.get("k") == 7
        assert cache.stats()["stale_served"] == 0


def test_a_tier_that_was_stopped_knows_nothing(own: EmbeddedServer) -> None:
    cache = warm(own)
    cache.tier.stop()
    own.kill()
    with pytest.raises(redis.ConnectionError):
        cache.get("k")


def test_threads_never_see_the_outage(own: EmbeddedServer) -> None:
    cache = warm(own)
    stopping, failures, seen = threading.Event(), [], set()

    def read() -> None:
        mine = TieredCache(own.url, cache._params)
        while not stopping.is_set():
            try:
                seen.add(str(mine.get("k")))
            except Exception as error:
                failures.append(error)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    lose(cache, own)
    wait_until(lambda: cache.tier.stale_served > 50)
    assert failures == []
    own.restart()
    wait_until(lambda: cache.tier.ready)
    with connect(own) as admin:
        admin.set(KEY, 2)
        wait_until(lambda: "2" in seen)
    stopping.set()
    for thread in threads:
        thread.join()
    # One may have failed already when another had an answer, newer than what was known.
    assert len(failures) <= len(threads)
    assert seen <= {"[1]", "2", "None"}  # None: what was not yet saved when the server was killed


def test_it_costs_no_command(url: str, admin: redis.Redis) -> None:
    costs = []
    for l1 in (QUIET, {**QUIET, "STALE_IF_ERROR": 60}):
        cache = tiered(url, l1=l1)
        cache.ttl("k")  # connects
        # Deaf: whether the invalidation of an own write comes before or after what is read next is
        # kept, is a matter of luck, and so is a GET.
        with deaf(cache), counted(admin) as calls:
            cache.set_many({"k": 1, "l": 2})
            cache.get_many(["k", "l", "m"])
            cache.get("k")
            cache.get("n")
            cache.has_key("o")
            cache.get_or_set("p", 1)
            cache.incr("p")
            cache.clear()
        costs.append(calls)
        registry.shutdown()  # else the channel would be made anew for both
    assert costs[0] == costs[1]


def test_where_it_is_off_nothing_stands_between(url: str) -> None:
    assert type(tiered(url, ready=False).client).__module__ == "django_redis.client.default"


def test_raw_clients_are_the_sites_own(url: str) -> None:
    cache = tiered(url, ready=False, l1=L1)
    assert type(cache.client.get_client()) is redis.Redis
    assert get_redis_connection().ping()
