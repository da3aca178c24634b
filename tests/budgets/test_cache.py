"""What the cache costs, by the server's own count of commands and connections."""

import contextlib
from typing import Any

import pytest
import redis
from django.test import override_settings

from redis_optimizer.cache import TieredCache, methods
from tests.cache.caches import (
    QUIET,
    channels,
    counted,
    is_kept,
    keep,
    plain,
    settle,
    tiered,
)
from tests.cache.calls import CALLS, Call, fill

WRITERS = {*methods.WRITES, *methods.SPECIAL, *methods.ENDS_ALL}


def test_a_hit_sends_nothing(cache: TieredCache, admin: redis.Redis) -> None:
    keep(cache, {"a": 1, "b": {"x": 1}})
    cache.get("absent")
    with counted(admin) as calls:
        for _ in range(10):
            cache.get("a")
            cache.get("absent")
            cache.get_many(["a", "b", "absent"])
            cache.has_key("a")
            cache.get_or_set("b", dict)
            assert "absent" not in cache
    assert calls == {}


def test_a_first_miss_is_one_get(cache: TieredCache, admin: redis.Redis) -> None:
    cache.set("a", 1)
    settle(cache)
    with counted(admin) as calls:
        cache.get("a")
        cache.get("absent")
    assert calls == {"get": 2}


def test_a_key_that_is_known_is_read_again_with_its_ttl(
    cache: TieredCache, admin: redis.Redis
) -> None:
    keep(cache, {"a": 1})
    _expire(cache, "a")
    with counted(admin) as calls:
        assert [cache.get("a"), cache.get("a")] == [1, 1]
    assert calls == {"get": 1, "pttl": 1}


def test_the_ttl_of_a_known_key_comes_in_the_same_round_trip(
    cache: TieredCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(cache, {"a": 1})
    _expire(cache, "a")
    sends: list[Any] = []
    send = redis.Connection.send_packed_command

    def spy(connection: Any, command: Any, *args: Any, **kwargs: Any) -> None:
        sends.append(command)
        send(connection, command, *args, **kwargs)

    monkeypatch.setattr(redis.Connection, "send_packed_command", spy)
    assert cache.get("a") == 1
    assert len(sends) == 1


@pytest.mark.parametrize(("exact", "first", "again"), [(True, 1, 1), (False, 0, 0), ("auto", 0, 1)])
def test_exact_ttl_says_when_the_ttl_is_asked_for(
    url: str, admin: redis.Redis, exact: Any, first: int, again: int
) -> None:
    cache = tiered(url, l1={**QUIET, "EXACT_TTL": exact})
    cache.set("a", 1)
    settle(cache)
    for expected in (first, again):
        with counted(admin) as calls:
            cache.get("a")
        assert (calls["get"], calls.get("pttl", 0)) == (1, expected)
        _expire(cache, "a")


@pytest.mark.parametrize("exact", [True, False, "auto"])
def test_get_many_is_one_mget_for_what_is_lacking(
    url: str, admin: redis.Redis, exact: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tiered(url, l1={**QUIET, "EXACT_TTL": exact})
    keep(cache, {"a": 1, "b": 2})
    cache.set_many({"c": 3, "d": 4})
    settle(cache)
    asked: list[Any] = []
    mget = redis.Redis.mget

    def spy(client: Any, *keys: Any) -> Any:
        asked.extend(keys)
        return mget(client, *keys)

    monkeypatch.setattr(redis.Redis, "mget", spy)
    with counted(admin) as calls:
        assert cache.get_many(["a", "c", "b", "d", "absent"]) == {"a": 1, "c": 3, "b": 2, "d": 4}
        assert cache.get_many(["a", "c", "b", "d", "absent"]) == {"a": 1, "c": 3, "b": 2, "d": 4}
    assert calls == {"mget": 1}
    assert asked == ["t:1:c", "t:1:d", "t:1:absent"]


def test_has_key_of_an_unknown_key_is_one_exists(cache: TieredCache, admin: redis.Redis) -> None:
    cache.set("a", 1)  # connects
    settle(cache)
    with counted(admin) as calls:
        cache.has_key("absent")
    assert calls == {"exists": 1}


@pytest.mark.parametrize("call", [c for c in CALLS if c.name in WRITERS], ids=repr)
def test_a_write_costs_what_it_does_in_django_redis(
    url: str, admin: redis.Redis, call: Call
) -> None:
    costs = []
    for backend in (plain(url, prefix="p"), tiered(url)):
        fill(backend)
        backend.get_many(["int", "text", "absent"])
        costs.append(_cost(call, backend, admin))
    assert costs[1] == (costs[0] if call.args != ([],) else {})


def test_get_or_set_of_an_unknown_key_costs_what_it_does_in_django_redis_at_most(
    url: str, admin: redis.Redis
) -> None:
    totals = []
    for backend in (plain(url, prefix="p"), tiered(url)):
        with counted(admin) as calls:
            backend.get_or_set("absent", "made")
        totals.append(sum(calls.values()))
    assert totals[1] <= totals[0]


@pytest.mark.parametrize("off", [{"MAX_AGE": 0}, {"ENABLED": False}], ids=repr)
def test_switched_off_it_is_django_redis_command_for_command(
    url: str, admin: redis.Redis, off: dict[str, Any]
) -> None:
    off_cache = tiered(url, ready=False, l1={"START_AFTER": 0, **off})
    histories = []
    for backend in (plain(url, prefix="p"), off_cache):
        fill(backend)
        history = []
        for call in CALLS:
            if (call.name, call.args) not in (("set_many", ({},)), ("delete_many", ([],))):
                history.append((call.name, _cost(call, backend, admin)))
        histories.append(history)
    assert histories[0] == histories[1]
    assert channels(admin) == []
    assert off_cache.stats() == {}


def test_the_whole_package_can_be_switched_off(
    url: str, admin: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    with override_settings(REDIS_OPTIMIZER={"ENABLED": False}):
        cache = tiered(url, ready=False)
    cache.set("a", 1)
    with counted(admin) as calls:
        assert [cache.get("a") for _ in range(20)] == [1] * 20
    assert calls == {"get": 20}
    assert channels(admin) == []


def _expire(cache: TieredCache, key: str) -> None:
    """Let the lifetime of what is kept be over."""
    cache.tier.store.entries[cache.client.make_key(key)].expires_at = 0.0
    assert not is_kept(cache, key)


def _cost(call: Call, backend: Any, admin: redis.Redis) -> dict[str, int]:
    with counted(admin) as calls, contextlib.suppress(ValueError, TypeError, redis.ResponseError):
        result = call(backend)
        if call.name in ("iter_keys", "sscan_iter"):
            list(result)
    if "scan" in calls:  # how often depends on where the server has the keys
        calls["scan"] = 1
    return calls
