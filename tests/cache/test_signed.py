"""SIGNED: only what a process of the site has written is a value; everything else is a miss."""

import logging
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import caches
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings
from django_redis.cache import RedisCache
from redis.exceptions import NoPermissionError

from redis_optimizer import switches
from redis_optimizer.cache import TieredCache
from redis_optimizer.cache.signing import HEAD, Refusals
from redis_optimizer.checks.caches import check_caches
from redis_optimizer.embedded import EmbeddedServer

from .caches import QUIET, is_kept, plain, settle, tiered
from .calls import CALLS, KEYS, fill, outcome

OFF = {"ENABLED": False}
FLEET = {**QUIET, "SINGLE_FLIGHT": "fleet"}
ALONE = {**QUIET, "SINGLE_FLIGHT": "off"}
COMPRESSORS = [
    f"django_redis.compressors.{name}Compressor"
    for name in ("gzip.Gzip", "identity.Identity", "lz4.Lz4", "lzma.Lzma", "zlib.Zlib", "zstd.ZStd")
]
VALUE = {"text": "x" * 200}  # long enough to be compressed


class Exploit:
    """What runs code in whoever unpickles it: here it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


@pytest.fixture
def cache(url: str) -> TieredCache:
    """Return a cache that signs."""
    return tiered(url, SIGNED=True)


@pytest.fixture
def raw(cache: TieredCache) -> Any:
    """Return a client of somebody who can write to the server, and has no key."""
    return cache.client.get_client(write=True)


class Reads:
    """The ways to read a value; each gives "none" where there is none."""

    get = staticmethod(lambda cache, key: cache.get(key, "none"))
    get_many = staticmethod(lambda cache, key: cache.get_many([key]).get(key, "none"))
    through = staticmethod(
        lambda cache, key: cache.get(key, "none", client=cache.client.get_client())
    )
    get_or_set = staticmethod(lambda cache, key: cache.get_or_set(key, lambda: "none"))


READS = [pytest.param(getattr(Reads, name), id=name) for name in vars(Reads) if name[0] != "_"]
Read = Callable[[TieredCache, str], Any]


@pytest.mark.parametrize("read", READS)
def test_nobody_without_the_key_makes_a_process_unpickle(
    cache: TieredCache, raw: Any, tmp_path: Path, read: Read
) -> None:
    path = tmp_path / "made"
    data = pickle.dumps(Exploit(path))
    cache.set("good", VALUE)
    sealed = raw.get("t:1:good")
    for forged in (data, HEAD + b"\0" * 32 + data, sealed[:35] + data, HEAD + data, HEAD, b""):
        raw.set("t:1:k", forged)
        settle(cache)
        assert read(cache, "k") == "none"
        assert not path.exists()


def test_what_it_is_kept_from_does_happen_without_signatures(url: str, tmp_path: Path) -> None:
    cache = tiered(url)
    cache.client.get_client(write=True).set("t:1:k", pickle.dumps(Exploit(tmp_path / "made")))
    cache.get("k")
    assert (tmp_path / "made").exists()


@pytest.mark.parametrize("read", READS)
def test_a_value_is_none_under_another_key(cache: TieredCache, raw: Any, read: Read) -> None:
    cache.set("mine", VALUE)
    cache.set("mine", "of version 2", version=2)
    for source in ("t:1:mine", "t:2:mine"):
        raw.set("t:1:yours", raw.get(source))
        settle(cache)
        assert read(cache, "yours") == "none"
    assert cache.get("mine") == VALUE


def test_a_value_that_was_changed_is_none(cache: TieredCache, raw: Any) -> None:
    cache.set("k", "abc")
    sealed = raw.get("t:1:k")
    for index in range(len(sealed)):
        changed = bytearray(sealed)
        changed[index] ^= 1
        raw.set("t:1:k", bytes(changed))
        settle(cache)
        assert cache.get("k") is None, index
    raw.set("t:1:k", sealed + b"\0")
    settle(cache)
    assert cache.get("k") is None


class TestMended:
    """The next write makes a value of it again, and get_or_set is one."""

    @pytest.fixture(params=[QUIET, FLEET, ALONE, OFF], ids=["process", "fleet", "off", "no tier"])
    def cache(self, url: str, request: pytest.FixtureRequest) -> TieredCache:
        return tiered(url, l1=request.param, ready=request.param is not OFF, SIGNED=True)

    @pytest.fixture(autouse=True)
    def _old(self, url: str, cache: TieredCache) -> None:
        plain(url).set("k", VALUE, None)

    def test_by_get_or_set_which_calls_its_function_once(self, cache: TieredCache) -> None:
        made: list[int] = []
        for _ in range(3):
            assert cache.get_or_set("k", lambda: made.append(1) or ["made"], 60) == ["made"]  # type: ignore[func-returns-value]
        assert made == [1]
        assert 0 < cache.ttl("k") <= 60

    async def test_by_its_coroutine(self, cache: TieredCache) -> None:
        made: list[int] = []
        for _ in range(3):
            assert await cache.aget_or_set("k", lambda: made.append(1) or ["made"]) == ["made"]  # type: ignore[func-returns-value]
        assert made == [1]
        assert await cache.aget("k") == ["made"]

    def test_by_add_with_its_timeout(self, cache: TieredCache) -> None:
        assert cache.add("k", "added", None) is True
        assert cache.get("k") == "added"
        assert cache.ttl("k") is None
        assert cache.add("k", "again") is False
        assert cache.get("k") == "added"

    def test_by_set_and_set_many(self, cache: TieredCache) -> None:
        cache.set("k", 1.5)
        assert cache.get("k") == 1.5
        cache.set_many({"k": [2]})
        assert cache.get_many(["k"]) == {"k": [2]}

    def test_not_by_add_that_keeps_nothing(self, cache: TieredCache) -> None:
        assert cache.add("k", "added", 0) is False
        assert cache.get("k") is None


def test_add_leaves_lists_integers_and_what_was_written_meanwhile(
    cache: TieredCache, raw: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw.lpush("t:1:list", "x")
    cache.set("int", 7)
    assert cache.add("list", "added") is False
    assert cache.add("int", "added") is False
    assert cache.get("int") == 7
    raw.set("t:1:k", b"foreign")
    evaluate = raw.eval

    def written_first(*args: Any) -> Any:
        cache.set("k", "theirs")
        return evaluate(*args)

    monkeypatch.setattr(type(raw), "eval", lambda self, *args: written_first(*args))
    assert cache.add("k", "ours") is False
    assert cache.get("k") == "theirs"


def test_add_tells_what_the_server_says(server: EmbeddedServer, url: str, admin: Any) -> None:
    admin.acl_setuser("few", enabled=True, passwords=["+pw"], keys=["*"], channels=["*"],
        categories=["+@all"], commands=["-eval"])  # fmt: skip
    plain(url).set("k", VALUE)
    cache = tiered(url.replace("//", "//few:pw@"), l1=OFF, ready=False, SIGNED=True)
    try:
        with pytest.raises(NoPermissionError):
            cache.add("k", "added")
    finally:
        admin.acl_deluser("few")


class TestIntegers:
    """They are stored as before: Redis counts with them."""

    def test_they_are_counted_by_redis(self, cache: TieredCache, raw: Any) -> None:
        cache.set("n", 5)
        assert cache.incr("n") == 6
        assert raw.get("t:1:n") == b"6"
        assert cache.decr("n", 10) == -4
        assert cache.get("n") == -4
        assert cache.get_or_set("n", 1) == -4

    def test_booleans_and_large_ones_are_themselves(self, cache: TieredCache, raw: Any) -> None:
        cache.set("yes", True)
        assert cache.get("yes") is True
        assert raw.get("t:1:yes").startswith(HEAD)
        cache.set("big", 2**63 - 1)
        assert cache.incr("big") == 2**63
        cache.set("float", 1.5)
        assert cache.incr("float") == 2.5
        assert cache.get("float") == 2.5

    def test_what_is_no_value_cannot_be_counted(self, cache: TieredCache, raw: Any) -> None:
        raw.set("t:1:k", b"foreign")
        for count in (cache.incr, cache.decr):
            with pytest.raises(ValueError, match="not found"):
                count("k")
        cache.set("list", [1])
        with pytest.raises(TypeError):
            cache.incr("list")


class TestMembers:
    """Those of sets and sorted sets are signed, too: for any key, so that Redis can move them."""

    def test_foreign_ones_are_left_out(self, cache: TieredCache, raw: Any, tmp_path: Path) -> None:
        forged = pickle.dumps(Exploit(tmp_path / "made"))
        cache.sadd("set", "a", "b", 3)
        cache.zadd("zset", {"a": 1, "b": 3})
        for n in range(3):
            raw.sadd("t:1:set", forged + b"%d" % n)
            raw.zadd("t:1:zset", {forged + b"%d" % n: 2})
        good = {"a", "b", 3}
        assert cache.smembers("set") == good
        assert cache.sunion("set", "absent") == good
        assert cache.sdiff("set", "absent") == good
        assert cache.sinter("set", "set") == good
        assert cache.sscan("set", count=100) == good
        assert set(cache.sscan_iter("set")) == good
        assert set(cache.srandmember("set", 100)) == good
        assert {cache.srandmember("set") for _ in range(60)} <= good | {None}
        assert cache.zrange("zset", 0, -1) == ["a", "b"]
        assert cache.zrange("zset", 0, -1, withscores=True) == [("a", 1.0), ("b", 3.0)]
        assert cache.zrevrange("zset", 0, -1) == ["b", "a"]
        assert cache.zrangebyscore("zset", 0, 9) == ["a", "b"]
        assert cache.zrevrangebyscore("zset", 9, 0, withscores=True) == [("b", 3.0), ("a", 1.0)]
        assert cache.zpopmax("zset") == ("b", 3.0)
        assert cache.zpopmax("zset") is None  # one of theirs
        assert cache.zpopmin("zset", 9) == [("a", 1.0)]
        assert cache.spop("set", 100) == good
        assert not (tmp_path / "made").exists()

    def test_a_member_is_no_value(self, cache: TieredCache, raw: Any) -> None:
        cache.sadd("set", "admin")
        (member,) = raw.smembers("t:1:set")
        raw.set("t:1:k", member)
        assert cache.get("k") is None

    def test_a_pattern_is_refused(self, cache: TieredCache) -> None:
        for scan in (cache.sscan, cache.sscan_iter):
            with pytest.raises(ValueError, match="SIGNED"):
                scan("set", match="a*")
            with pytest.raises(ValueError, match="SIGNED"):
                scan("set", "a*")


@pytest.fixture
def other(server: EmbeddedServer) -> RedisCache[Any]:
    """Return a plain cache in a database of its own, to compare with."""
    return plain(f"{server.url.removesuffix('/0')}/1")


def test_every_method_does_what_it_does_in_django_redis(
    cache: TieredCache, raw: Any, other: RedisCache[Any]
) -> None:
    kept = [(key, version) for key, version in KEYS if key in ("text", "absent", "dest")]
    for call in CALLS:
        for each in (cache, other):
            each.clear()
            fill(each)
        expected = outcome(lambda call=call: call(other))
        assert outcome(lambda call=call: call(cache)) in (expected, call.django), call
        if call.name == "lock":  # what it writes is no value
            continue
        for key, version in kept:
            seen, held = (
                outcome(lambda c=c, key=key, version=version: c.get(key, version=version))
                for c in (cache, other)
            )
            assert seen == held, (call, key, version)
        for final in raw.keys("t:*"):
            if raw.type(final) == b"string":
                stored = raw.get(final)
                assert stored.startswith(HEAD) or stored.lstrip(b"-").isdigit(), (call, final)


class TestOlderDeployments:
    """A process without SIGNED beside one with it, whichever was there first."""

    @pytest.mark.parametrize("compressor", COMPRESSORS)
    def test_it_reads_none_where_a_value_is_signed(self, url: str, compressor: str) -> None:
        new = tiered(url, SIGNED=True, COMPRESSOR=compressor)
        without = tiered(url, COMPRESSOR=compressor)
        for old in (plain(url, COMPRESSOR=compressor), without):
            for value in (VALUE, "x", None, [], 1.5, True):
                new.set("k", value)
                settle(without)
                settle(new)
                assert new.get("k") == value
                assert new.get("k") == value  # from the process
                assert old.get("k") is None
                assert old.get_many(["k"]) == {"k": None}
        new.set("n", 7)
        assert plain(url, COMPRESSOR=compressor).get("n") == 7

    def test_its_values_are_none_until_they_are_set_again(
        self, url: str, cache: TieredCache
    ) -> None:
        old = plain(url)
        old.set_many({"a": VALUE, "n": 7})
        assert cache.get_many(["a", "n"]) == {"n": 7}
        cache.set("a", VALUE)
        assert cache.get("a") == VALUE
        old.set("a", "old again")
        settle(cache)
        assert cache.get("a") is None

    def test_what_it_writes_and_deletes_is_heard_of(self, url: str, cache: TieredCache) -> None:
        cache.set("k", VALUE)
        settle(cache)
        assert cache.get("k") == VALUE
        assert is_kept(cache, "k")
        plain(url).delete("k")
        settle(cache)
        assert cache.get("k") is None


class TestKeys:
    def test_the_fallbacks_are_read_and_the_first_is_written(
        self, cache: TieredCache, raw: Any
    ) -> None:
        cache.set("k", VALUE)
        old = raw.get("t:1:k")
        cache.tier.store.clear()
        with override_settings(SECRET_KEY="new", SECRET_KEY_FALLBACKS=["only-for-tests"]):
            assert cache.get("k") == VALUE
            cache.set("k", VALUE)
            assert raw.get("t:1:k") != old
        settle(cache)
        with override_settings(SECRET_KEY="new"):
            assert cache.get("k") == VALUE
            cache.tier.store.clear()
        assert cache.get("k") is None

    def test_a_new_version_of_a_key_is_signed_for_it(self, cache: TieredCache) -> None:
        cache.set("k", VALUE, 60)
        assert cache.incr_version("k") == 2
        assert cache.get("k") is None
        assert cache.get("k", version=2) == VALUE
        assert cache.decr_version("k", version=2) == 1
        assert cache.get("k") == VALUE
        assert 0 < cache.ttl("k") <= 60

    async def test_coroutines_sign_and_read(self, cache: TieredCache, raw: Any) -> None:
        await cache.aset("k", VALUE)
        assert raw.get("t:1:k").startswith(HEAD)
        assert await cache.aget("k") == VALUE
        await cache.aset_many({"k": 1, "l": [2]})
        assert await cache.aget_many(["k", "l"]) == {"k": 1, "l": [2]}
        raw.set("t:1:l", pickle.dumps([3]))
        settle(cache)
        assert await cache.aget_many(["k", "l"]) == {"k": 1}

    def test_the_fleet_stores_what_the_others_can_read(self, url: str) -> None:
        fleet = tiered(url, l1=FLEET, SIGNED=True)
        assert fleet.get_or_set("k", lambda: VALUE) == VALUE
        settle(fleet)
        assert fleet.get("k") == VALUE


class TestTold:
    def test_it_is_counted_and_warned_of_without_the_value(
        self, url: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        settings = {
            "BACKEND": "redis_optimizer.cache.TieredCache",
            "LOCATION": url,
            "OPTIONS": {"SIGNED": True, "L1": QUIET},
        }
        with override_settings(CACHES={"default": settings}):
            cache: Any = caches["default"]
            client = cache.client.get_client(write=True)
            client.set(":1:hidden-key", b"hidden-value")
            with caplog.at_level(logging.WARNING, "redis_optimizer.cache"):
                for _ in range(3):
                    assert cache.get("hidden-key") is None
            assert cache.stats()["unsigned"] == 3
        (record,) = caplog.records
        assert 'CACHES["default"]' in record.getMessage()
        assert "SECRET_KEY_FALLBACKS" in record.getMessage()
        assert "hidden" not in record.getMessage()

    def test_it_is_warned_of_once_a_minute(self, caplog: pytest.LogCaptureFixture) -> None:
        times = iter((0.0, 59.0, 60.0, 61.0))
        refusals = Refusals(lambda: ["a", "b"], lambda: next(times))
        for _ in range(4):
            refusals.note()
        assert len(caplog.records) == 2
        assert 'CACHES["a"], CACHES["b"]' in caplog.text
        assert refusals.count == 4

    def test_it_is_not_kept_in_the_process(self, cache: TieredCache, raw: Any) -> None:
        raw.set("t:1:k", b"foreign")
        settle(cache)
        assert cache.get("k") is None
        assert cache.get_many(["k"]) == {}
        assert not is_kept(cache, "k")
        assert cache.has_key("k") is True
        assert not cache.tier.store._leases


class TestSwitchedOff:
    """Without the tier it is django-redis that signs."""

    def test_by_the_switch(self, cache: TieredCache, raw: Any) -> None:
        cache.set("k", VALUE)
        switches.learn({"cache": switches.State(False, 1.0, "test")})
        assert cache.get("k") == VALUE
        raw.set("t:1:k", pickle.dumps(VALUE))
        assert cache.get("k") is None

    def test_by_enabled(self, url: str) -> None:
        with override_settings(REDIS_OPTIMIZER={"ENABLED": False}):
            cache = tiered(url, ready=False, SIGNED=True)
            cache.set("k", VALUE)
            assert cache.get("k") == VALUE
            assert cache.client.get_client().get("t:1:k").startswith(HEAD)

    def test_behind_a_breaker(self, url: str) -> None:
        with override_settings(REDIS_OPTIMIZER={"BREAKER_AFTER": 3}):
            cache = tiered(url, SIGNED=True)
            cache.set("k", VALUE)
            assert cache.get("k") == VALUE
            assert cache.client.get_client().get("t:1:k").startswith(HEAD)


class TestRefused:
    @pytest.mark.parametrize("value", [None, 1, 0, "yes", b"key"])
    def test_another_value_than_true_and_false(self, url: str, value: Any) -> None:
        with pytest.raises(ImproperlyConfigured, match=r'OPTIONS\["SIGNED"\] must be'):
            tiered(url, ready=False, SIGNED=value)

    @pytest.mark.parametrize("name", ["HerdClient", "ShardClient"])
    def test_clients_that_decode_in_their_own_way(self, url: str, name: str) -> None:
        with pytest.raises(ImproperlyConfigured, match=rf'OPTIONS\["SIGNED"\].*{name}'):
            tiered(url, ready=False, SIGNED=True, CLIENT_CLASS=f"django_redis.client.{name}")
        tiered(url, ready=False, SIGNED=False, CLIENT_CLASS=f"django_redis.client.{name}")

    def test_a_site_without_a_key(self, url: str) -> None:
        with override_settings(SECRET_KEY=""), pytest.raises(ImproperlyConfigured):
            tiered(url, ready=False, SIGNED=True)

    def test_the_system_check_says_so(self, url: str) -> None:
        def settings(**options: Any) -> dict[str, Any]:
            backend = "redis_optimizer.cache.TieredCache"
            return {"default": {"BACKEND": backend, "LOCATION": url, "OPTIONS": options}}

        with override_settings(CACHES=settings(SIGNED="yes")):
            (error,) = check_caches()
            assert error.id == "redis_optimizer.E002"
            assert "SIGNED" in error.msg
        with override_settings(CACHES=settings(SIGNED=True)):
            assert check_caches() == []
