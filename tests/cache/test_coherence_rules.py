"""What is kept is let go of in time: invalidations, leases, lifetimes, the staleness bound."""

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import redis

from redis_optimizer.cache import TieredCache
from redis_optimizer.cache.fill import Fetch
from redis_optimizer.link import Link
from tests.servers import wait_until

from .caches import (
    QUICK,
    channels,
    counted,
    is_kept,
    keep,
    kill_channels,
    plain,
    settle,
    tiered,
    wait_dropped,
)
from .silence import silence

KEY, OTHER = "t:1:k", "t:1:other"
WRITES: dict[str, Callable[[redis.Redis], Any]] = {
    "SET": lambda r: r.set(KEY, 2),
    "DEL": lambda r: r.delete(KEY),
    "INCR": lambda r: r.incr(KEY),
    "EXPIRE": lambda r: r.expire(KEY, 100),
    "RENAME": lambda r: r.rename(KEY, OTHER),
    "COPY": lambda r: r.copy(OTHER, KEY, replace=True),
    "MULTI": lambda r: r.pipeline().set(OTHER, 2).set(KEY, 2).execute(),
    "EVAL": lambda r: r.eval("redis.call('SET', KEYS[1], 2)", 1, KEY),
    "FLUSHDB": lambda r: r.flushdb(),
    "FLUSHALL": lambda r: r.flushall(),
}


@pytest.mark.parametrize("name", WRITES)
def test_a_write_of_another_client_is_heard(
    cache: TieredCache, url: str, admin: redis.Redis, name: str
) -> None:
    keep(cache, {"k": 1, "other": 9})
    assert cache.get("absent") is None
    WRITES[name](admin)
    wait_dropped(cache, "k")
    assert cache.get("k") == plain(url).get("k")


def test_a_write_is_heard_whatever_encodes_the_keys(url: str) -> None:
    url = f"{url}?encoding=latin-1"
    cache = tiered(url, prefix="café")
    keep(cache, {"é": "old", "plain": "old"})
    plain(url, prefix="café").set_many({"é": "new", "plain": "new"})
    for key in ("é", "plain"):
        wait_dropped(cache, key)
        assert cache.get(key) == "new"


def test_a_key_that_appears_is_heard(cache: TieredCache, url: str) -> None:
    assert cache.get("k") is None
    assert is_kept(cache, "k")
    plain(url).set("k", 1)
    wait_dropped(cache, "k")
    assert cache.get("k") == 1


def test_both_names_of_a_rename_are_heard(cache: TieredCache, admin: redis.Redis) -> None:
    keep(cache, {"k": 1})
    assert cache.get("other") is None
    admin.rename(KEY, OTHER)
    wait_dropped(cache, "k")
    wait_dropped(cache, "other")


def test_the_flush_of_another_database_lets_go_of_everything(
    cache: TieredCache, server: Any
) -> None:
    keep(cache, {"k": 1, "other": 2})
    with redis.Redis(port=server.port, db=3) as elsewhere:
        elsewhere.flushdb()
    wait_dropped(cache, "k")
    wait_dropped(cache, "other")
    assert cache.get("k") == 1


def test_a_key_that_expires_is_heard(cache: TieredCache) -> None:
    cache.set("k", 1, timeout=0.3)
    settle(cache)
    assert cache.get("k") == 1
    wait_dropped(cache, "k")
    assert cache.get("k") is None


def test_a_write_under_another_prefix_lets_go_of_nothing(cache: TieredCache, url: str) -> None:
    keep(cache, {"k": 1})
    plain(url, prefix="elsewhere").set("k", 2)
    settle(cache)
    assert is_kept(cache, "k")


# Leases


def cut(cache: TieredCache, admin: redis.Redis) -> None:
    kill_channels(admin)
    wait_until(lambda: not cache.tier.ready)


MEANWHILE: dict[str, Callable[[TieredCache, redis.Redis], Any]] = {
    "another client writes": lambda cache, admin: (admin.set(KEY, 2), settle(cache)),
    "another client deletes": lambda cache, admin: (admin.delete(KEY), settle(cache)),
    "another thread writes": lambda cache, admin: in_thread(lambda: cache.set("k", 2)),
    "another thread deletes": lambda cache, admin: in_thread(lambda: cache.delete("k")),
    "another thread clears": lambda cache, admin: in_thread(cache.clear),
    "another database is flushed": lambda cache, admin: flush_elsewhere(cache, admin),
    "the channel is cut": cut,
}


def flush_elsewhere(cache: TieredCache, admin: redis.Redis) -> None:
    epoch = cache.tier.store.epoch
    with redis.Redis(port=admin.get_connection_kwargs()["port"], db=3) as elsewhere:
        elsewhere.flushdb()
    wait_until(lambda: cache.tier.store.epoch > epoch)


def in_thread(act: Callable[[], Any]) -> None:
    thread = threading.Thread(target=act)
    thread.start()
    thread.join()


@pytest.mark.parametrize("again", [False, True], ids=["first read", "known key"])
@pytest.mark.parametrize("event", MEANWHILE)
@pytest.mark.parametrize("command", ["get", "mget"])
def test_what_was_read_before_a_write_is_not_kept_after_it(
    cache: TieredCache,
    url: str,
    admin: redis.Redis,
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    event: str,
    again: bool,
) -> None:
    keep(cache, {"k": 1})
    lapse(cache, "k") if again else cache.tier.store.drop([KEY])
    fetch = getattr(Fetch, command)

    def interrupted(self: Fetch, *keys: str) -> Any:
        reply = fetch(self, *keys)
        MEANWHILE[event](cache, admin)
        return reply

    monkeypatch.setattr(Fetch, command, interrupted)
    read = (lambda: cache.get("k")) if command == "get" else (lambda: cache.get_many(["k"])["k"])
    assert read() == 1
    monkeypatch.undo()
    assert not is_kept(cache, "k")
    assert cache.stats()["fills_voided"] == 1
    assert cache.get("k") == plain(url).get("k")


def test_a_miss_that_was_read_before_a_write_is_not_kept_after_it(
    cache: TieredCache, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    get = Fetch.get

    def interrupted(self: Fetch, key: str) -> Any:
        reply = get(self, key)
        plain(url).set("k", 1)
        settle(cache)
        return reply

    monkeypatch.setattr(Fetch, "get", interrupted)
    assert cache.get("k") is None
    assert not is_kept(cache, "k")


def test_a_read_that_fails_leaves_no_lease(
    cache: TieredCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Fetch, *keys: str) -> Any:
        raise redis.ConnectionError

    with monkeypatch.context() as patch:
        patch.setattr(Fetch, "get", fail)
        patch.setattr(Fetch, "mget", fail)
        for read in (cache.get, lambda key: cache.get_many([key])):
            with pytest.raises(redis.ConnectionError):
                read("k")
    assert cache.tier.store._leases == {}


# The bound


def test_an_answered_ping_vouches_from_when_it_was_sent(url: str) -> None:
    cache = tiered(url, l1=QUICK)
    before = cache.tier.now()
    cache.tier.channel.ping()
    valid = wait_until(
        lambda: cache.tier.store.valid_until > before and cache.tier.store.valid_until
    )
    assert valid <= cache.tier.now() + QUICK["MAX_STALENESS"]


def test_the_reader_that_finds_it_lapsed_pings_once_and_asks_redis(
    cache: TieredCache, admin: redis.Redis
) -> None:
    keep(cache, {"k": 1})
    with silence():
        cache.tier.store.extend(0.0)
        with counted(admin) as calls:
            assert [cache.get("k") for _ in range(5)] == [1] * 5
        assert (calls["get"], calls["ping"]) == (5, 1)
    wait_until(lambda: is_kept(cache, "k"))  # the answer vouches for it again
    with counted(admin) as calls:
        assert cache.get("k") == 1
    assert calls == {}


def test_a_silent_channel_serves_nothing_beyond_the_bound(url: str) -> None:
    cache = tiered(url, l1=QUICK)
    keep(cache, {"k": 1})
    channel, connects = cache.tier.channel, cache.tier.channel.connects
    seen: list[tuple[float, Any]] = []
    with silence():
        began = time.monotonic()
        plain(url).set("k", 2)

        def is_lost() -> bool:
            seen.append((time.monotonic() - began, cache.get("k")))
            return not cache.tier.ready

        wait_until(is_lost, 5 * QUICK["MAX_STALENESS"])
    assert seen[0][1] == 1, "the channel was not silent"
    # What began within the bound may end a little later on a busy machine.
    assert max(at for at, value in seen if value == 1) <= QUICK["MAX_STALENESS"] + 0.1
    assert seen[-1][1] == 2
    wait_until(lambda: cache.tier.ready and channel.connects > connects)
    assert cache.get("k") == 2


def test_the_channel_is_cut_and_comes_back(url: str, admin: redis.Redis) -> None:
    cache = tiered(url)
    keep(cache, {"k": 1})
    cut(cache, admin)
    assert not is_kept(cache, "k")
    assert cache.get("k") == 1
    wait_until(lambda: cache.tier.ready)
    assert len(channels(admin)) == 1
    keep(cache, {"k": 2})


def test_without_a_channel_nothing_is_kept(
    cache: TieredCache, admin: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(cache, {"k": 1})
    monkeypatch.setattr(Link, "open", lambda *args, **kwargs: (_ for _ in ()).throw(OSError()))
    cut(cache, admin)
    for _ in range(3):
        assert cache.get("k") == 1
        assert cache.get_many(["k"]) == {"k": 1}
    assert not is_kept(cache, "k")
    assert cache.stats()["coherence"] == "off"


def test_a_handler_that_fails_trusts_nothing(cache: TieredCache, admin: redis.Redis) -> None:
    keep(cache, {"k": 1, "other": 2})
    connects = cache.tier.channel.connects

    def fail(keys: Any) -> None:
        raise ZeroDivisionError

    cache.tier.on_invalidated = fail
    admin.set(KEY, 2)
    wait_dropped(cache, "other")
    del cache.tier.on_invalidated
    wait_until(lambda: cache.tier.ready and cache.tier.channel.connects > connects)


def lapse(cache: TieredCache, key: str) -> None:
    """Let the lifetime of what is kept be over, so that the key is known, but read again."""
    cache.tier.store.entries[cache.client.make_key(key)].expires_at = 0.0
