"""What TieredCache returns, with and without what it keeps."""

import asyncio
import threading
import warnings
from typing import Any

import pytest
import redis
from django.core.cache.backends.base import CacheKeyWarning
from django_redis import get_redis_connection
from django_redis.util import CacheKey

from redis_optimizer.cache import TieredCache

from .caches import QUIET, counted, deaf, is_kept, keep, plain, settle, tiered, wait_dropped

VALUES = [
    "text", "", b"bytes", 5, -1, 2**70, 1.5, True, False, None, (1, "a"), frozenset({1}),
    {"a": [1, 2]}, [1, {"b": 2}], {1, 2}, (1, [2]),
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_a_hit_returns_what_redis_would(cache: TieredCache, url: str, value: Any) -> None:
    keep(cache, {"k": value})
    expected = plain(url).get("k")
    for _ in range(3):
        found = cache.get("k", "default")
        assert (type(found), found) == (type(expected), expected)
    assert is_kept(cache, "k")
    assert cache.get_many(["k"]) == {"k": expected}


def test_a_caller_that_changes_a_value_changes_nothing_for_the_next(cache: TieredCache) -> None:
    cache.set("k", {"list": [1]})
    for read in (cache.get, lambda key: cache.get_many([key])[key], cache.get):
        found = read("k")
        found["list"].append(2)
        assert cache.get("k") == {"list": [1]}


def test_a_caller_that_changes_what_a_loader_made_changes_nothing(cache: TieredCache) -> None:
    made = {"list": [1]}
    cache.get_or_set("k", lambda: made)["list"].append(2)
    made["list"].append(3)
    assert cache.get_or_set("k", None) == {"list": [1]}


def test_a_remembered_miss_gives_each_caller_its_own_default(cache: TieredCache) -> None:
    assert cache.get("absent") is None
    assert is_kept(cache, "absent")
    assert cache.get("absent", 1) == 1
    assert cache.get("absent", default=[2]) == [2]
    assert cache.get_many(["absent"]) == {}
    assert "absent" not in cache


def test_none_is_a_value(cache: TieredCache) -> None:
    cache.set("k", None)
    assert cache.get("k", "default") is None
    assert cache.get("k", "default") is None
    assert cache.get_many(["k"]) == {"k": None}
    assert cache.has_key("k")


def test_versions_are_kept_apart(cache: TieredCache) -> None:
    cache.set("k", "one")
    cache.set("k", "two", version=2)
    for _ in range(2):
        assert cache.get("k") == "one"
        assert cache.get("k", version=1) == "one"
        assert cache.get("k", None, 2) == "two"
        assert cache.get_many(["k"], version=2) == {"k": "two"}
        assert not cache.has_key("k", version=3)


def test_an_alias_of_another_version_reads_that_version(url: str) -> None:
    first, second = tiered(url), tiered(url, params={"VERSION": 2})
    first.set("k", "one")
    second.set("k", "two")
    for _ in range(2):
        assert (first.get("k"), second.get("k")) == ("one", "two")
        assert (first.get("k", version=2), second.get("k", version=1)) == ("two", "one")


def test_a_version_that_moves_is_seen_at_both_ends(cache: TieredCache) -> None:
    cache.set("k", "one", timeout=None)
    assert (cache.get("k"), cache.get("k", version=2)) == ("one", None)
    assert cache.incr_version("k") == 2
    assert (cache.get("k"), cache.get("k", version=2)) == (None, "one")
    assert cache.decr_version("k", version=2) == 1
    assert (cache.get("k"), cache.get("k", version=2)) == ("one", None)


def test_a_ready_made_key_moves_as_well(cache: TieredCache) -> None:
    key = cache.client.make_key("k")
    cache.set(key, "one", timeout=None)
    settle(cache)
    assert (cache.get(key), cache.get("k", version=2)) == ("one", None)
    with deaf(cache):
        assert cache.incr_version(key) == 2
        assert (cache.get(key), cache.get("k", version=2)) == (None, "one")


def reversed_key(key: str, prefix: str, version: int) -> str:
    return f"{prefix}:{key[::-1]}:{version}"


def test_a_key_function_decides_what_is_one_key(url: str) -> None:
    cache = tiered(url, params={"KEY_FUNCTION": f"{__name__}.reversed_key"})
    cache.set("abc", 1)
    assert redis.Redis.from_url(url).exists("t:cba:1")
    settle(cache)
    for _ in range(2):
        assert cache.get("abc") == 1
        assert cache.get("cba") is None
    assert is_kept(cache, "abc")


@pytest.mark.filterwarnings("ignore::django.core.cache.CacheKeyWarning")
@pytest.mark.parametrize("key", [5, ("a", 1), 1.5, None, b"k", CacheKey("t:1:k")], ids=repr)
def test_a_key_need_not_be_a_str(cache: TieredCache, url: str, key: Any) -> None:
    cache.set(key, "value")
    settle(cache)
    for _ in range(2):
        assert cache.get(key) == "value"
        assert cache.get_many([key]) == {key: "value"}
        assert cache.has_key(key)
    assert plain(url).get(key) == "value"
    assert is_kept(cache, key)
    assert cache.get_or_set(key, "other") == "value"
    assert cache.delete(key)
    assert cache.get(key) is None


def test_a_number_and_its_text_are_one_key(cache: TieredCache) -> None:
    cache.set(5, "five")
    assert cache.get("5") == "five"
    cache.set("5", "new")
    assert cache.get(5) == "new"


@pytest.mark.parametrize("key", ["with space", "x" * 300])
def test_a_key_that_memcached_refuses_draws_djangos_warning(cache: TieredCache, key: str) -> None:
    with pytest.warns(CacheKeyWarning):
        cache.set(key, 1)
    settle(cache)
    with pytest.warns(CacheKeyWarning):
        assert cache.get(key) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert cache.get(key) == 1  # a hit does not look at the key again


def test_a_client_of_the_callers_own_is_asked_whatever_is_kept(
    cache: TieredCache, url: str, admin: redis.Redis
) -> None:
    keep(cache, {"k": 1})
    client = cache.client.get_client(write=True)
    with counted(admin) as calls:
        assert cache.get("k", client=client) == 1
        assert cache.get_many(["k"], client=client) == {"k": 1}
        assert cache.has_key("k", client=client)
    assert calls == {"get": 1, "mget": 1, "exists": 1}


def test_the_raw_connection_of_django_redis_is_at_hand() -> None:
    assert get_redis_connection("default").ping()


@pytest.mark.parametrize(("name", "seconds"), [("short", 60), ("medium", 300), ("long", 1800)])
def test_lifetimes_have_names(cache: TieredCache, name: str, seconds: int) -> None:
    assert cache.get("k") is None
    assert getattr(cache, f"set_{name}")("k", 1) is True
    assert cache.get("k") == 1
    assert seconds - 5 <= cache.ttl("k") <= seconds
    assert getattr(cache, f"set_{name}")("k", 2, version=2) is True
    assert cache.get("k", version=2) == 2


def test_closing_a_backend_leaves_what_is_kept(cache: TieredCache, admin: redis.Redis) -> None:
    keep(cache, {"k": 1})
    cache.close()
    with counted(admin) as calls:
        assert cache.get("k") == 1
    assert calls == {}


def test_threads_share_what_one_of_them_read(url: str, admin: redis.Redis) -> None:
    first, second = tiered(url), tiered(url)
    keep(first, {"k": 1})
    with counted(admin) as calls:
        assert second.get("k") == 1
    assert calls == {}
    second.set("k", 2)
    assert first.get("k") == 2


async def test_a_coroutine_answers_a_hit_on_the_event_loop(cache: TieredCache) -> None:
    await cache.aset_many({"a": 1, "b": 2})
    settle(cache)
    assert await cache.aget_many(["a", "b"]) == {"a": 1, "b": 2}
    assert await cache.aget("absent") is None
    # With one step of the loop each: no thread can have had a part in it.
    for coroutine, expected in (
        (cache.aget("a"), 1),
        (cache.aget("absent", 9), 9),
        (cache.aget_many(["a", "b", "absent"]), {"a": 1, "b": 2}),
        (cache.ahas_key("a"), True),
        (cache.ahas_key("absent"), False),
        (cache.aget_or_set("a", 9), 1),
    ):
        with pytest.raises(StopIteration) as done:
            coroutine.send(None)
        assert done.value.value == expected


@pytest.mark.parametrize("read", ["aget", "aget_many", "ahas_key", "aget_or_set"])
async def test_a_coroutine_goes_to_redis_from_another_thread(
    cache: TieredCache, read: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(cache, {"k": 1})
    cache.tier.store.entries[cache.client.make_key("k")].expires_at = 0.0  # known, but too old
    threads = set()

    def spy(name: str) -> None:
        command = getattr(redis.Redis, name)

        def run(*args: Any, **kwargs: Any) -> Any:
            threads.add(threading.current_thread())
            return command(*args, **kwargs)

        monkeypatch.setattr(redis.Redis, name, run)

    for name in ("get", "mget", "exists", "pipeline"):
        spy(name)
    arguments = {"aget_many": (["k"],), "aget_or_set": ("k", 2)}.get(read, ("k",))
    assert await getattr(cache, read)(*arguments) in (1, {"k": 1}, True)
    assert threads
    assert threading.current_thread() not in threads


async def test_coroutines_of_many_tasks_agree_with_redis(cache: TieredCache, url: str) -> None:
    await cache.aset("n", 0)
    await asyncio.gather(*(cache.aincr("n") for _ in range(20)))
    assert await cache.aget("n") == 20
    assert await cache.aget("n") == plain(url).get("n") == 20


def test_what_another_client_writes_is_read(cache: TieredCache, url: str) -> None:
    keep(cache, {"k": "old"})
    plain(url).set("k", "new")
    wait_dropped(cache, "k")
    assert cache.get("k") == "new"


def test_the_numbers_add_up(cache: TieredCache) -> None:
    cache.set_many({"a": 1, "b": 2})
    settle(cache)
    cache.get("a")  # a miss
    cache.get("a")
    cache.get_many(["a", "b"])  # one of each
    cache.get_many(["a", "b"])  # two hits, one command less
    stats = cache.stats()
    assert (stats["hits"], stats["misses"], stats["hit_ratio"]) == (4, 2, 4 / 6)
    assert stats["commands_avoided"] == 2
    assert (stats["total_entries"], stats["valid_entries"], stats["expired_entries"]) == (2, 2, 0)
    assert stats["fills"] == 2
    assert stats["coherence"] == "tracking"
    assert stats["staleness_bound"] == QUIET["MAX_STALENESS"]
    assert stats["bytes"] > 0


def test_a_key_that_is_named_twice_is_no_hit(cache: TieredCache) -> None:
    cache.set("k", 1)
    settle(cache)
    assert cache.get_many(["k", "k", "absent", "absent"]) == {"k": 1}
    stats = cache.stats()
    assert (stats["hits"], stats["misses"], stats["commands_avoided"]) == (0, 2, 0)
    assert cache.get_many(["k", "k"]) == {"k": 1}
    stats = cache.stats()
    assert (stats["hits"], stats["commands_avoided"]) == (2, 1)
