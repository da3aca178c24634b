"""Every method of django-redis's backend does what it does there, and later reads agree at once."""

import contextlib
import inspect
from collections.abc import Iterator
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.core.cache.backends.base import BaseCache
from django_redis.cache import RedisCache
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from redis_optimizer.cache import TieredCache, methods
from redis_optimizer.embedded import EmbeddedServer

from .caches import deaf, is_kept, plain, settle, tiered
from .calls import CALLS, KEYS, Call, fill, outcome

TABLES: dict[str, frozenset[str]] = {
    name: frozenset(getattr(methods, name))
    for name in ("WRITES", "SPECIAL", "ENDS_ALL", "SERVED", "PASSED_ON")
}
WRITERS = TABLES["WRITES"] | TABLES["SPECIAL"] | TABLES["ENDS_ALL"]

# set_many({}) and delete_many([]) send nothing.
SENDING = [c for c in CALLS if c.name in WRITERS and all(arg not in ({}, []) for arg in c.args)]


def public_methods(kind: type) -> set[str]:
    """Return the names of the public methods, without coroutines."""
    found = inspect.getmembers(kind, inspect.isfunction)
    return {n for n, f in found if not n.startswith("_") and not inspect.iscoroutinefunction(f)}


@pytest.mark.parametrize("method", sorted(public_methods(RedisCache)))
def test_each_method_stands_in_one_table_and_is_called_below(method: str) -> None:
    assert sum(method in table for table in TABLES.values()) == 1
    assert method in {call.name for call in CALLS}


def test_the_tables_name_nothing_else() -> None:
    assert frozenset().union(*TABLES.values()) == public_methods(RedisCache)


def test_each_writer_of_a_key_is_replaced() -> None:
    assert {n for n in methods.WRITES if getattr(TieredCache, n) is getattr(RedisCache, n)} == set()


def test_each_coroutine_of_django_is_replaced() -> None:
    coroutines = inspect.getmembers(BaseCache, inspect.iscoroutinefunction)
    assert {name for name, ours in coroutines if getattr(TieredCache, name) is ours} == set()


@pytest.fixture
def other(server: EmbeddedServer) -> RedisCache[Any]:
    """Return a plain cache in a database of its own, to compare with."""
    return plain(f"{server.url.removesuffix('/0')}/1")


@pytest.fixture
def mirror(url: str) -> RedisCache[Any]:
    """Return a plain cache on the keys of the tiered one: what Redis holds."""
    return plain(url)


@pytest.fixture
def warm(
    request: pytest.FixtureRequest, url: str, other: RedisCache[Any], mirror: RedisCache[Any]
) -> Iterator[TieredCache]:
    """Return a cache that knows every key, and hears of no write but its own."""
    cache = tiered(url)
    if getattr(request, "param", "full") == "full":
        fill(mirror)
        fill(other)
    for key, version in KEYS:
        outcome(lambda k=key, v=version: cache.get(k, version=v))
    with deaf(cache):
        yield cache


def assert_agrees(cache: TieredCache, mirror: RedisCache[Any]) -> None:
    """Assert that the cache sees of every key what Redis holds."""
    for key, version in KEYS:
        for read in ("has_key", "get"):
            seen = outcome(lambda r=read, k=key, v=version: getattr(cache, r)(k, version=v))
            held = outcome(lambda r=read, k=key, v=version: getattr(mirror, r)(k, version=v))
            assert seen == held, f"{read}({key!r}, version={version})"


@pytest.mark.parametrize("warm", ["full", "empty"], indirect=True)
@pytest.mark.parametrize("call", CALLS, ids=repr)
def test_a_call_returns_what_it_does_in_django_redis_and_reads_agree(
    warm: TieredCache, other: RedisCache[Any], mirror: RedisCache[Any], call: Call
) -> None:
    expected = outcome(lambda: call(other))
    assert outcome(lambda: call(warm)) in (expected, call.django)
    assert_agrees(warm, mirror)


@pytest.mark.parametrize("call", SENDING, ids=repr)
def test_reads_agree_when_a_write_was_done_but_its_reply_was_lost(
    warm: TieredCache,
    mirror: RedisCache[Any],
    call: Call,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # TieredCache takes the steps of these itself.
    name = {"decr_version": "delete", "incr_version": "delete"}.get(call.name, call.name)
    done = getattr(warm.client, name)

    def lose_the_reply(*args: Any, **kwargs: Any) -> Any:
        with contextlib.suppress(Exception):  # some fail anyway
            done(*args, **kwargs)
        raise RedisConnectionError("the reply was lost")

    monkeypatch.setattr(warm.client, name, lose_the_reply)
    with pytest.raises((RedisConnectionError, ValueError)):  # ValueError: no such key
        call(warm)
    assert_agrees(warm, mirror)


@pytest.mark.parametrize("call", [c for c in CALLS if hasattr(BaseCache, f"a{c.name}")], ids=repr)
def test_a_coroutine_does_what_its_method_does(
    warm: TieredCache, other: RedisCache[Any], mirror: RedisCache[Any], call: Call
) -> None:
    expected = outcome(lambda: call(other))
    coroutine = async_to_sync(getattr(warm, f"a{call.name}"))
    assert outcome(lambda: coroutine(*call.args, **call.kwargs)) in (expected, call.django)
    assert_agrees(warm, mirror)


@pytest.mark.parametrize("step", ["acquire", "extend", "reacquire", "release"])
def test_reads_agree_after_each_step_of_a_lock(
    warm: TieredCache, mirror: RedisCache[Any], step: str
) -> None:
    lock = warm.lock("absent", timeout=60)
    if step != "acquire":
        lock.acquire()
        assert warm.has_key("absent")
    {"extend": lambda: lock.extend(5)}.get(step, getattr(lock, step))()
    assert warm.has_key("absent") is mirror.has_key("absent") is (step != "release")


def test_a_lock_of_another_version_is_seen_as_well(
    warm: TieredCache, mirror: RedisCache[Any]
) -> None:
    assert not warm.has_key("absent", version=2)
    with warm.lock("absent", 2, timeout=60):
        assert warm.has_key("absent", version=2)
    with warm.lock("absent", version=2, timeout=60):
        assert warm.has_key("absent", version=2)
    assert not warm.has_key("absent", version=2)


def test_a_key_deleted_under_another_prefix_is_dropped(url: str, mirror: RedisCache[Any]) -> None:
    mine = tiered(url, l1={"PREFIXES": ["t:", "other:"], "START_AFTER": 0})
    final = mine.client.make_key("k", prefix="other")
    mirror.set(final, "old")
    assert mine.get(final) == "old"
    with deaf(mine):
        assert mine.delete("k", prefix="other") is True
        assert mine.get(final) is None


def test_keys_that_are_an_iterator_are_read_once(warm: TieredCache) -> None:
    assert warm.get_many(key for key in ("int", "text", "absent")) == {"int": 5, "text": "one"}
    assert warm.delete_many(key for key in ("int", "text", "absent")) == 2
    assert warm.get_many(["int", "text"]) == {}
    warm.set_many({"int": 1}.items())  # type: ignore[arg-type]  # as dict() takes them
    assert warm.get("int") == 1


@pytest.mark.parametrize(
    ("name", "args", "kwargs", "version"),
    [
        ("set", ("key", 1), {}, 1),
        ("set", ("key", 1, 60, 2), {}, 2),
        ("set", ("key", 1, 60, None), {}, 1),
        ("set", ("key", 1), {"version": 2}, 2),
        ("set", (), {"key": "key", "value": 1}, 1),
        ("set", (), {"key": "key", "value": 1, "version": 2}, 2),
        ("delete", ("key",), {}, 1),
        ("delete", ("key", 2), {}, 2),
        ("delete", ("key", 2, "other"), {}, None),
        ("delete", ("key",), {"prefix": "other"}, None),
        ("delete", ("key",), {"prefix": None}, 1),
        ("hdel", ("key", "field"), {}, 1),
        ("sadd", ("key", 1, 2, 3), {}, 1),
        ("sadd", ("key", 1, 2, 3), {"version": 2}, 2),
    ],
)
def test_a_writer_lets_go_of_the_key_that_it_names_and_of_no_other(
    url: str, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], version: int | None
) -> None:
    cache = tiered(url)
    for each in (1, 2):
        cache.set("key", "value", version=each)
    settle(cache)
    assert [cache.get("key", version=each) for each in (1, 2)] == ["value", "value"]
    with deaf(cache), contextlib.suppress(ResponseError):  # of the wrong type: let go all the same
        getattr(cache, name)(*args, **kwargs)
    assert [each for each in (1, 2) if not is_kept(cache, "key", each)] == (
        [] if version is None else [version]
    )
