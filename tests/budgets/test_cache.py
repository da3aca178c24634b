"""What the cache costs, by the server's own count of commands and connections."""

import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest
import redis
from django.conf import settings as django_settings
from django.test import override_settings

from redis_optimizer.cache import TieredCache, methods
from redis_optimizer.embedded import EmbeddedServer
from tests.cache.caches import (
    QUICK,
    QUIET,
    channels,
    command_calls,
    counted,
    is_kept,
    keep,
    kill_channels,
    plain,
    settle,
    tiered,
)
from tests.cache.calls import CALLS, Call, fill
from tests.servers import wait_until

WRITERS = {*methods.WRITES, *methods.SPECIAL, *methods.ENDS_ALL}


@pytest.fixture(autouse=True)
def _no_tiers() -> Any:
    with override_settings(CACHES=django_settings.CACHES):
        yield


@pytest.fixture
def url(server: EmbeddedServer) -> str:
    return server.url


@pytest.fixture
def cache(url: str) -> TieredCache:
    return tiered(url)


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
        with counted(admin) as calls:
            _try(call, backend)
        costs.append(calls)
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
                with counted(admin) as calls:
                    _try(call, backend)
                history.append((call.name, calls))
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


def test_a_short_lived_process_pays_nothing(url: str, admin: redis.Redis) -> None:
    cache = tiered(url, ready=False, l1={"START_AFTER": 16})
    cache.set("a", 1)
    with counted(admin) as calls:
        for _ in range(16):
            cache.get("a")
    assert calls == {"get": 16}
    assert channels(admin) == []
    cache.get("a")
    wait_until(lambda: channels(admin))


def test_a_channel_takes_six_commands_at_most(url: str, admin: redis.Redis) -> None:
    plain(url).get("a")  # the pool has a connection for the probe
    with counted(admin) as calls:
        cache = tiered(url)
    assert sum(calls.values()) <= 6, calls
    assert calls["client|tracking"] == calls["subscribe"] == calls["set"] == 1
    connects = cache.tier.channel.connects
    with counted(admin) as calls:
        kill_channels(admin)
        wait_until(lambda: cache.tier.channel.connects > connects and cache.tier.ready)
    assert sum(calls.values()) <= 6, calls


def test_a_process_that_is_idle_sends_nothing(url: str, admin: redis.Redis) -> None:
    cache = tiered(url, l1=QUICK)
    cache.get("a")
    store = cache.tier.store
    wait_until(lambda: store.now() > store.valid_until, QUICK["MAX_STALENESS"] * 3)
    with counted(admin) as calls:
        deadline = time.monotonic() + 5 * QUICK["HEARTBEAT"]
        while time.monotonic() < deadline:
            assert store.now() > store.valid_until
            time.sleep(QUICK["HEARTBEAT"])
    assert calls == {}
    assert len(channels(admin)) == 1


def test_a_process_that_reads_pings_once_a_heartbeat(url: str, admin: redis.Redis) -> None:
    cache = tiered(url, l1={**QUICK, "HEARTBEAT": 0.3, "MAX_STALENESS": 1.6})
    cache.get("a")
    with counted(admin) as calls:
        began = time.monotonic()
        wait_until(lambda: cache.get("a") or command_calls(admin).get("ping", 0) >= 3)
        beats = (time.monotonic() - began) / 0.3
    assert 3 <= calls["ping"] <= beats + 1
    assert is_kept(cache, "a")


def test_one_connection_more_than_django_redis(url: str, admin: redis.Redis) -> None:
    count = _connections(plain, admin, url)
    assert _connections(tiered, admin, url) == count + 1


def _connections(make: Callable[..., Any], admin: redis.Redis, url: str) -> int:
    """Count the connections that a process of its own has."""
    before = {client["id"] for client in admin.client_list()}
    script = (
        "import sys, django; from django.conf import settings; settings.configure();"
        f"from tests.cache.caches import plain, tiered; cache = {make.__name__}({url!r});"
        "[cache.get('a') for _ in range(20)]; cache.set('a', 1); print('ready', flush=True);"
        "sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        found = len({client["id"] for client in admin.client_list()} - before)
        process.communicate("")
    return found


def test_aliases_on_one_server_share_a_channel(url: str, admin: redis.Redis) -> None:
    first = tiered(url, prefix="a")
    second = tiered(url.replace("/0", "/1"), prefix="b")
    assert first.tier.channel is second.tier.channel
    assert len(channels(admin)) == 1
    for cache in (first, second):
        keep(cache, {"k": 1})
        settle(cache)


def test_aliases_on_two_servers_have_a_channel_each(url: str, admin: redis.Redis) -> None:
    with (
        EmbeddedServer() as other,
        redis.Redis.from_url(other.url, decode_responses=True) as other_admin,
    ):
        first, second = tiered(url), tiered(other.url)
        assert first.tier.channel is not second.tier.channel
        assert (len(channels(admin)), len(channels(other_admin))) == (1, 1)


def _expire(cache: TieredCache, key: str) -> None:
    """Let the lifetime of what is kept be over."""
    cache.tier.store.entries[cache.client.make_key(key)].expires_at = 0.0
    assert not is_kept(cache, key)


def _try(call: Call, backend: Any) -> None:
    try:
        result = call(backend)
        if call.name in ("iter_keys", "sscan_iter"):
            list(result)
    except (ValueError, TypeError, redis.ResponseError):
        pass
