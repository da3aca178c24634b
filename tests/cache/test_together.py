"""What get_or_set lost lately is read again together with the next key that it misses."""

import asyncio
import gc
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import redis

from redis_optimizer.cache import TieredCache, together
from tests.cluster import Cluster
from tests.servers import HOST

from . import clusters
from .caches import QUIET, counted, is_kept, plain, settle, tiered

NAMES = ("a", "b", "c", "d")


def make(cache: TieredCache, *names: str) -> None:
    """Have values made that are not there: each is written, and so not kept."""
    for name in names:
        assert cache.get_or_set(name, lambda name=name: name * 2) == name * 2
    settle(cache)


def ask(cache: TieredCache, name: str) -> Any:
    return cache.get_or_set(name, _never)


def _never() -> Any:
    raise AssertionError("it is there")


def write(cache: TieredCache, url: str, *names: str) -> None:
    """Have another process write keys."""
    for name in names:
        plain(url).set(name, name * 3)
    settle(cache)


def lose(cache: TieredCache, url: str, *names: str) -> None:
    """Have values made and read, and then written by another process."""
    make(cache, *names)
    for name in names:
        ask(cache, name)
        ask(cache, name)
    write(cache, url, *names)
    assert not any(is_kept(cache, name) for name in names)


def test_what_was_made_is_read_back_with_the_next_that_is_missed(
    cache: TieredCache, admin: redis.Redis
) -> None:
    make(cache, "a")
    assert not is_kept(cache, "a")
    with counted(admin) as calls:
        assert cache.get_or_set("b", "bb") == "bb"
        assert ask(cache, "a") == "aa"
    assert calls == {"mget": 1, "set": 1}


def test_what_others_wrote_is_read_again_by_one_command(
    cache: TieredCache, admin: redis.Redis, url: str
) -> None:
    lose(cache, url, *NAMES)
    with counted(admin) as calls:
        assert [ask(cache, name) for name in NAMES] == ["aaa", "bbb", "ccc", "ddd"]
    assert calls == {"mget": 1}


def test_only_what_was_asked_for_is_a_miss(cache: TieredCache, url: str) -> None:
    lose(cache, url, *NAMES)
    before = cache.stats()
    for name in NAMES:
        ask(cache, name)
    after = cache.stats()
    counts = {name: after[name] - before[name] for name in ("misses", "hits", "commands_avoided")}
    assert counts == {"misses": 1, "hits": 3, "commands_avoided": 3}


def test_a_coroutine_brings_them_along_too(
    cache: TieredCache, admin: redis.Redis, url: str
) -> None:
    lose(cache, url, *NAMES)
    with counted(admin) as calls:
        for name in NAMES:
            assert asyncio.run(cache.aget_or_set(name, _never)) == name * 3
    assert calls == {"mget": 1}


def test_that_a_key_is_gone_comes_along_too(
    cache: TieredCache, admin: redis.Redis, url: str
) -> None:
    lose(cache, url, "a", "b")
    plain(url).delete_many(["a", "b"])
    settle(cache)
    with counted(admin) as calls:
        assert [cache.get_or_set(name, lambda: "new") for name in ("a", "b")] == ["new", "new"]
    assert calls == {"mget": 1, "set": 2}


def test_what_was_brought_and_not_read_is_not_brought_again(
    cache: TieredCache, admin: redis.Redis, url: str
) -> None:
    lose(cache, url, "a", "b")
    ask(cache, "a")
    assert is_kept(cache, "b")
    write(cache, url, "a", "b")
    with counted(admin) as calls:
        assert ask(cache, "a") == "aaa"
    assert calls == {"get": 1}
    assert not is_kept(cache, "b")
    # Who asks for it has it brought again.
    assert ask(cache, "b") == "bbb"
    write(cache, url, "a", "b")
    with counted(admin) as calls:
        assert [ask(cache, "a"), ask(cache, "b")] == ["aaa", "bbb"]
    assert calls == {"mget": 1}


def test_a_write_meanwhile_keeps_what_was_brought_from_being_kept(
    cache: TieredCache, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lose(cache, url, "a", "b")
    mget = redis.Redis.mget

    def overtaken(client: Any, *keys: Any) -> Any:
        found = mget(client, *keys)
        plain(url).set("b", "newer")
        settle(cache)
        return found

    with monkeypatch.context() as patch:
        patch.setattr(redis.Redis, "mget", overtaken)
        assert ask(cache, "a") == "aaa"
    assert is_kept(cache, "a")
    assert not is_kept(cache, "b")
    assert ask(cache, "b") == "newer"


def test_a_large_value_is_not_brought_along(cache: TieredCache, admin: redis.Redis) -> None:
    large = "x" * (together.LARGEST + 1)
    assert cache.get_or_set("large", large) == large
    settle(cache)
    with counted(admin) as calls:
        assert cache.get_or_set("a", "aa") == "aa"
    assert calls == {"get": 1, "set": 1}
    assert not is_kept(cache, "large")


def test_a_large_value_that_others_wrote_is_brought_along_once(
    cache: TieredCache, admin: redis.Redis, url: str
) -> None:
    lose(cache, url, "a", "large")
    for sent in ({"mget": 1}, {"get": 1}):
        plain(url).set("large", "x" * (together.LARGEST + 1))
        write(cache, url, "a")
        with counted(admin) as calls:
            ask(cache, "a")
        assert calls == sent
        ask(cache, "large")


def test_a_value_that_is_too_large_to_be_kept_is_never_brought_along(
    cache: TieredCache, admin: redis.Redis, url: str
) -> None:
    lose(cache, url, "a", "large")
    large = "x" * (together.LARGEST + 1)
    plain(url).set("large", large)
    cache.tier.store.max_bytes = 8 * together.LARGEST
    settle(cache)
    assert ask(cache, "large") == large
    assert not is_kept(cache, "large")
    write(cache, url, "a")
    with counted(admin) as calls:
        ask(cache, "a")
    assert calls == {"get": 1}


def test_one_command_brings_so_many_keys(cache: TieredCache, admin: redis.Redis, url: str) -> None:
    names = [f"k{number}" for number in range(cache.tier.options.REREAD_MANY + 2)]
    lose(cache, url, *names)
    with counted(admin) as calls:
        for name in reversed(names):
            ask(cache, name)
    assert calls == {"mget": 1, "get": 1}


def test_so_many_keys_are_remembered(cache: TieredCache) -> None:
    for number in range(together.REMEMBERED + 5):
        make(cache, name := f"k{number}")
        ask(cache, name)
    known = cache.tier.known.keys
    assert len(known) == together.REMEMBERED
    assert "t:1:k5" in known
    assert "t:1:k4" not in known


def test_a_key_that_has_expired_in_the_process_is_read_alone_with_its_ttl(
    cache: TieredCache, admin: redis.Redis
) -> None:
    make(cache, "a", "b")
    ask(cache, "a")
    cache.set("b", "lost")
    settle(cache)
    cache.tier.store.entries["t:1:a"].expires_at = 0
    with counted(admin) as calls:
        ask(cache, "a")
    assert calls == {"get": 1, "pttl": 1}


def test_keys_may_change_while_they_are_looked_through(cache: TieredCache) -> None:
    names = [f"k{number}" for number in range(together.REMEMBERED)]
    known = together.Known()
    for name in names:
        known.ask(f"t:1:{name}", name)

    class Garbage:
        """Asks for a key when it is collected, as another thread may at that moment."""

        def __init__(self) -> None:
            self.itself = self

        def __del__(self) -> None:
            known.keys["t:1:late"] = ("late", None)

    gc.collect()
    Garbage()
    thresholds = gc.get_threshold()
    gc.set_threshold(20)  # it is collected when so many of the pairs are made
    try:
        lost = list(known.lost(cache, cache.tier, None))
    finally:
        gc.set_threshold(*thresholds)
    assert set(names) <= {key for _, key in lost}
    gc.collect()
    assert "t:1:late" in known.keys


def test_versions_are_not_mixed(cache: TieredCache, admin: redis.Redis) -> None:
    make(cache, "a")
    cache.set("b", "of version 2", version=2)
    settle(cache)
    with counted(admin) as calls:
        assert cache.get_or_set("b", _never, version=2) == "of version 2"
    assert calls == {"get": 1}


@pytest.mark.parametrize(
    "l1",
    [
        {"EXACT_TTL": True},
        {"COHERENCE": "ttl"},
        {"EXCLUDE": ["a", "b"]},
        {"PREFIXES": ["other:"]},
        {"REREAD_MANY": 0},
    ],
    ids=str,
)
def test_where_it_would_not_be_kept_as_a_single_read_is_each_is_read_alone(
    url: str, admin: redis.Redis, l1: dict[str, Any]
) -> None:
    cache = tiered(url, l1={**QUIET, **l1})
    for name in ("a", "b"):
        cache.get_or_set(name, name)
    with counted(admin) as calls:
        assert [ask(cache, name) for name in ("a", "b")] == ["a", "b"]
    assert calls["get"] == 2
    assert "mget" not in calls


def test_one_that_cannot_be_read_is_no_fault_of_another(
    cache: TieredCache, url: str, admin: redis.Redis
) -> None:
    lose(cache, url, "a", "b")
    admin.set("t:1:b", b"no pickle")
    settle(cache)
    assert ask(cache, "a") == "aaa"
    assert is_kept(cache, "a")
    with pytest.raises(pickle.UnpicklingError):
        ask(cache, "b")
    write(cache, url, "a")
    with counted(admin) as calls:
        assert ask(cache, "a") == "aaa"
    assert calls == {"get": 1}


@pytest.mark.parametrize("ignored", [False, True])
def test_where_mget_is_not_allowed_each_is_read_alone(
    server: Any, admin: redis.Redis, url: str, ignored: bool
) -> None:
    admin.acl_setuser(
        "single", True, ["+pw"], keys=["*"], channels=["*"], commands=["+@all", "-mget"]
    )
    cache = tiered(f"redis://single:pw@{HOST}:{server.port}/0", IGNORE_EXCEPTIONS=ignored)
    try:
        lose(cache, url, *NAMES)
        assert [ask(cache, name) for name in NAMES] == ["aaa", "bbb", "ccc", "ddd"]
    finally:
        admin.acl_deluser("single")


@pytest.mark.parametrize("error", [redis.ConnectionError, redis.TimeoutError])
def test_an_outage_is_met_once(
    cache: TieredCache, url: str, monkeypatch: pytest.MonkeyPatch, error: Callable[[], Exception]
) -> None:
    lose(cache, url, "a", "b")
    asked = []

    def fail(client: Any, *keys: Any) -> Any:
        asked.append(keys)
        raise error

    monkeypatch.setattr(redis.Redis, "mget", fail)
    monkeypatch.setattr(redis.Redis, "get", fail)
    with pytest.raises(redis.RedisError):
        ask(cache, "a")
    assert len(asked) == 1


@pytest.mark.slow
def test_in_a_cluster_each_is_read_alone(nodes: Cluster) -> None:
    cache = clusters.clustered(nodes)
    for name in NAMES:
        assert cache.get_or_set(name, name) == name
        assert ask(cache, name) == name
    assert cache.tier.known.keys == {}
