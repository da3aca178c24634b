"""Keys and values of any kind, and rubbish in Redis: the same results and errors as without us."""

import datetime
import pickle
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from hypothesis import example, given, settings
from hypothesis import strategies as st

from redis_optimizer.cache import TieredCache
from redis_optimizer.stats.desk import desk
from redis_optimizer.stats.messages import MAX_QUESTION, control_channel
from tests.anything import ANY_TEXT, ANY_VALUE
from tests.servers import wait_until

from .caches import QUIET, keep, plain, settle, tiered

KEYS: st.SearchStrategy[Any] = st.one_of(
    ANY_TEXT,
    st.sampled_from(["", " ", "k" * 300, "\ud800", "é" * 200, b"bytes", 7, None, 1.5, (1, "a")]),
)
RUBBISH = [
    b"",
    b"x",
    b"\x80",
    b"\x80\x05\x95",
    pickle.dumps({"a": 1})[:-3],
    pickle.dumps({"a": 1}) + b"tail",
    b"\x80\x7f" + pickle.dumps(1)[2:],  # a protocol of a later Python
    b"cno_such_module\nName\n.",
    b"cbuiltins\nno_such_name\n.",
    b"(" * 10_000,
    b"\xffraw",
    b"12",
    b" 7 ",
    b"1_000",
    b"NaN",
    b"9" * 5_000,
    "é".encode(),
]


def outcome(act: Callable[[], Any]) -> tuple[str, str]:
    """Return what a call gives, or raises, so that two can be compared."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of keys that memcached would not take
        try:
            value = act()
        except Exception as error:
            return "error", type(error).__name__
    return type(value).__name__, repr(value)


@pytest.fixture
def pair(url: str, cache: TieredCache) -> Iterator[tuple[TieredCache, Any]]:
    """Yield a cache with a tier and one without, on the same keys."""
    other = plain(url)
    yield cache, other
    other.close()


class TestAnything:
    @settings(max_examples=30)
    @given(KEYS, ANY_VALUE, st.none() | st.integers(0, 2))
    @example("k", "x" * 10**6, None)
    @example("k", b"\0" * 10**6, None)
    @example("k", float("nan"), None)
    @example("k", 10**400, None)
    @example("k", True, None)
    @example("k", datetime.datetime(2026, 1, 1, fold=1), None)
    @example("k", lambda: None, None)
    def test_what_is_written_is_read_alike(
        self, pair: tuple[TieredCache, Any], key: Any, value: Any, version: int | None
    ) -> None:
        ours, other = pair
        assert outcome(lambda: ours.set(key, value, version=version)) == outcome(
            lambda: other.set(key, value, version=version)
        )
        reads: list[Callable[[Any], Any]] = [
            lambda cache: cache.get(key, "default", version=version),
            lambda cache: list(cache.get_many([key, "absent"], version=version).values()),
            lambda cache: cache.has_key(key, version=version),
            lambda cache: cache.get_or_set(key, "default", version=version),
            lambda cache: cache.get(key, "default", version=version),  # from the process, if at all
        ]
        for read in reads:
            assert outcome(lambda read=read: read(ours)) == outcome(lambda read=read: read(other))
        calls: list[Callable[[Any], Any]] = [
            lambda cache: cache.add(key, value, version=version),
            lambda cache: cache.delete(key, version=version),
        ]
        assert outcome(lambda: calls[0](ours)) == outcome(lambda: calls[0](other))
        assert (
            outcome(lambda: ours.delete(key, version=version))[0]
            == outcome(lambda: other.delete(key, version=version))[0]
        )
        assert outcome(lambda: ours.get(key, 0, version)) == outcome(
            lambda: other.get(key, 0, version)
        )

    @pytest.mark.parametrize("raw", RUBBISH, ids=lambda raw: repr(raw[:20]))
    def test_rubbish_is_read_alike(
        self, pair: tuple[TieredCache, Any], admin: redis.Redis, raw: bytes
    ) -> None:
        ours, other = pair
        ours.set("good", 1)
        admin.set("t:1:bad", raw)
        settle(ours)
        reads: list[Callable[[Any], Any]] = [
            lambda cache: cache.get("bad"),
            lambda cache: cache.get_many(["good", "bad"]),
            lambda cache: cache.get_or_set("bad", 3),
            lambda cache: cache.has_key("bad"),
            lambda cache: cache.incr("bad"),
            lambda cache: cache.get("bad"),
        ]
        for read in reads:
            expected = outcome(lambda read=read: read(other))
            admin.set("t:1:bad", raw)
            settle(ours)
            assert [outcome(lambda read=read: read(ours)) for _ in range(1)] == [expected]
            admin.set("t:1:bad", raw)
        assert not ours.tier.store._leases, "a lease is left behind"
        assert ours.get("good") == 1


class TestFleetLock:
    """Whatever is where the lock of a loader should be, nobody waits for ever."""

    @pytest.fixture
    def fleet(self, url: str) -> TieredCache:
        l1 = {**QUIET, "SINGLE_FLIGHT": "fleet", "SINGLE_FLIGHT_TIMEOUT": 0.5}
        return tiered(url, l1=l1)

    @pytest.mark.parametrize("lifetime", [None, 10**9], ids=["for ever", "for days"])
    @pytest.mark.parametrize("kind", ["string", "list"])
    def test_rubbish_is_waited_for_no_longer_than_a_lock(
        self, fleet: TieredCache, admin: redis.Redis, kind: str, lifetime: int | None
    ) -> None:
        name = "t:1:k:redis_optimizer.lock"
        admin.set(name, "rubbish") if kind == "string" else admin.lpush(name, "rubbish")
        if lifetime:
            admin.pexpire(name, lifetime)
        admin.config_resetstat()
        assert fleet.get_or_set("k", lambda: 5) == 5
        stats = admin.info("commandstats")
        assert stats["cmdstat_evalsha"]["calls"] < 50  # it does not ask all the time
        assert fleet.get("k") == 5
        assert not admin.exists(name)


def test_a_flood_of_forged_messages_holds_up_nothing(
    cache: TieredCache, admin: redis.Redis
) -> None:
    keep(cache, {f"k{n}": n for n in range(20)})
    channel = control_channel("default")
    forged = [b"0" * 64 + b":{}", b"\xff" * 200, b"0" * 64 + b":" + b"[" * (MAX_QUESTION - 65), b""]
    huge = b"x" * 10**6
    ended = threading.Event()
    errors: list[Any] = []

    def read() -> None:
        while not ended.is_set():
            for n in range(20):
                found = cache.get(f"k{n}")
                if found != n and n:
                    errors.append((n, found))

    reader = threading.Thread(target=read)
    reader.start()
    before, told = _resident(), desk.totals()
    try:
        for number in range(20):
            pipeline = admin.pipeline(transaction=False)
            for n in range(500):
                pipeline.publish(channel, forged[n % len(forged)])
            pipeline.publish(channel, huge)
            pipeline.set("t:1:k0", number)
            pipeline.execute()
        wait_until(lambda: cache.get("k0") == 19)
        wait_until(lambda: sum((desk.totals()[name] - told[name]) for name in told) == 20 * 501)
        assert desk.totals()["answered"] == told["answered"]
    finally:
        ended.set()
        reader.join()
    assert not errors
    assert _resident() - before < 40
    assert cache.tier.channel is not None
    assert cache.tier.channel.connects == 1


def _resident() -> int:
    """Return the MiB that this process takes, on Linux; elsewhere 0."""
    status = Path("/proc/self/status")
    text = status.read_text() if status.exists() else "VmRSS: 0"
    return int(text.split("VmRSS:")[1].split()[0]) >> 10
