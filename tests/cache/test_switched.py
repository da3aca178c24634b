"""The cache, switched off and on while it is used."""

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from django.test import override_settings

from redis_optimizer.cache import ServerUnavailable, TieredCache
from redis_optimizer.cache.counts import channel_totals
from redis_optimizer.cache.outage import guard_of
from redis_optimizer.embedded import EmbeddedServer
from redis_optimizer.switches import State, learn
from tests.servers import wait_until

from .caches import QUICK, QUIET, counted, is_kept, keep, plain, tiered
from .test_outages import CALLS, POOL


class Switch:
    """Switches the cache of this process, each time a little later."""

    at = 0.0

    def __call__(self, on: bool) -> None:
        self.at += 1
        learn({"cache": State(on=on, at=self.at)})


@pytest.fixture
def switch() -> Switch:
    return Switch()


USES: list[Callable[[Any], Any]] = [
    lambda cache: cache.get("a"),
    lambda cache: cache.get("a", "x", version=2),
    lambda cache: cache.get_many(["a", "b", "c"]),
    lambda cache: cache.has_key("a"),
    lambda cache: cache.set("a", 2),
    lambda cache: cache.set_many({"a": 3, "d": 4}),
    lambda cache: cache.add("e", 1),
    lambda cache: cache.get_or_set("f", lambda: 6),
    lambda cache: cache.get_or_set("f", lambda: 7),
    lambda cache: cache.incr("a"),
    lambda cache: cache.touch("a", 5),
    lambda cache: cache.delete("d"),
    lambda cache: cache.delete_many(["d", "e"]),
    lambda cache: "a" in cache,
    lambda cache: cache.ttl("a") is not None,
    lambda cache: cache.incr_version("a"),
]


GUARDED = {"STALE_IF_ERROR": 60}


@pytest.mark.parametrize(("l1", "after"), [({}, 0), (GUARDED, 3)], ids=["alone", "guarded"])
def test_switched_off_it_sends_what_it_sends_without_the_package(
    url: str, admin: redis.Redis, switch: Switch, l1: Any, after: int
) -> None:
    with override_settings(REDIS_OPTIMIZER={"ENABLED": False}):
        bare = tiered(url, ready=False)
        bare.set_many({"a": 1, "b": 2})
        assert bare.stats() == {}
        calls, seen = [], []
        for use in USES:
            with counted(admin) as sent:
                seen.append(use(bare))
            calls.append(sent)
    admin.flushall()
    with override_settings(REDIS_OPTIMIZER={"BREAKER_AFTER": after}):
        cache = tiered(url, l1={**QUIET, **l1})
        keep(cache, {"a": 1, "b": 2})
        switch(False)
        for use, sent, answer in zip(USES, calls, seen, strict=True):
            with counted(admin) as now:
                assert use(cache) == answer
            assert now == sent
        assert cache.stats()["coherence"] == "off"
        assert cache.stats()["valid_entries"] == 0
        assert cache.stats()["breaker"] == "off"


@pytest.fixture
def lost(switch: Switch) -> Iterator[TieredCache]:
    """Return a cache that knows a value, whose server is dead, and whose breaker is open."""
    with EmbeddedServer() as own, override_settings(REDIS_OPTIMIZER={"BREAKER_AFTER": 3}):
        cache = tiered(own.url, l1={**QUICK, **GUARDED}, CONNECTION_POOL_KWARGS=POOL)
        keep(cache, {"a": 1})
        own.kill()
        wait_until(lambda: not cache.tier.ready)
        for _ in range(3):
            with pytest.raises(redis.ConnectionError):
                cache.ttl("a")
        assert cache.get("a") == 1
        assert cache.stats()["breaker"] in ("open", "half-open")
        yield cache


def test_switched_off_it_fails_as_without_the_package(lost: TieredCache, switch: Switch) -> None:
    served = lost.stats()["stale_served"]
    switch(False)
    assert (lost.stats()["breaker"], channel_totals()["breakers"]) == ("off", {})
    for call in CALLS.values():
        for _ in range(4):  # more often than the breaker allows
            with pytest.raises(redis.ConnectionError) as caught:
                call(lost)
            assert not isinstance(caught.value, ServerUnavailable)
    assert lost.stats()["stale_served"] == served


def test_on_again_the_breaker_begins_anew_and_nothing_of_before_is_known(
    lost: TieredCache, switch: Switch
) -> None:
    switch(False)
    with pytest.raises(redis.ConnectionError):
        lost.set("a", 2)
    switch(True)
    for _ in range(3):
        with pytest.raises(redis.ConnectionError) as caught:
            lost.get("a")
        assert not isinstance(caught.value, ServerUnavailable)
    with pytest.raises(ServerUnavailable):
        lost.get("a")


def test_a_call_that_fails_after_it_was_switched_off_does_not_count(
    url: str, switch: Switch
) -> None:
    with override_settings(REDIS_OPTIMIZER={"BREAKER_AFTER": 1}):
        guard = guard_of(redis.ConnectionPool.from_url(url))

    def fail() -> None:
        switch(False)
        raise redis.ConnectionError

    with pytest.raises(redis.ConnectionError):
        guard.run(fail)
    switch(True)
    assert guard.state == "closed"


def test_a_breaker_that_opens_as_it_is_switched_off_refuses_nobody(
    url: str, switch: Switch
) -> None:
    with override_settings(REDIS_OPTIMIZER={"BREAKER_AFTER": 1}):
        guard = guard_of(redis.ConnectionPool.from_url(url))
    switch(False)
    guard._breaker.fail(time.monotonic(), "by a thread that had asked before")  # type: ignore[union-attr]
    assert guard.run(lambda: 7) == 7


def test_nothing_from_before_is_served_when_it_is_on_again(
    url: str, admin: redis.Redis, switch: Switch
) -> None:
    cache = tiered(url)
    keep(cache, {"a": 1})
    switch(False)
    assert not is_kept(cache, "a")
    plain(url).set("a", 2)
    assert cache.get("a") == 2
    connects = cache.tier.channel.connects
    switch(True)
    assert not is_kept(cache, "a")
    keep(cache, {"a": 3})
    plain(url).set("a", 4)
    wait_until(lambda: cache.get("a") == 4)
    assert cache.tier.channel.connects == connects  # the same channel


def test_a_read_that_began_before_is_not_kept(cache: TieredCache, switch: Switch) -> None:
    final = cache.client.make_key("a")
    for begun in (True, False):
        switch(begun)
        lease = cache.tier.begin(final, "a")
        assert (lease is None) is (not begun)
        switch(not begun)
        switch(True)
        cache.tier.keep(final, lease, 1, b"1", None, cache.tier.now())
        assert not is_kept(cache, "a")


def test_it_is_trusted_no_longer_than_the_last_ping_vouches(
    cache: TieredCache, switch: Switch
) -> None:
    tier = cache.tier
    until = tier.store.valid_until
    switch(False)
    assert tier.store.valid_until == 0
    tier.on_alive(until + 1)
    assert tier.store.valid_until == 0  # off is off, whoever answers
    switch(True)
    assert tier.store.valid_until == until + 1


def test_a_channel_that_was_lost_meanwhile_is_not_trusted(
    cache: TieredCache, switch: Switch
) -> None:
    switch(False)
    cache.tier.on_down()
    switch(True)
    assert (cache.tier.ready, cache.tier.store.is_open) == (False, False)
    assert cache.tier.begin(cache.client.make_key("a"), "a") is None


def test_a_channel_that_comes_up_while_it_is_off_changes_nothing(url: str, switch: Switch) -> None:
    switch(False)
    cache = tiered(url, ready=False)
    cache.get("a")
    wait_until(lambda: cache.tier.channel is not None and cache.tier.channel.is_up)
    assert (cache.tier.wait_ready(0), cache.tier.ready) == (False, False)
    switch(True)
    assert cache.tier.wait_ready(10)
    keep(cache, {"a": 1})


def test_values_without_a_channel_are_not_kept_either(url: str, switch: Switch) -> None:
    cache = tiered(url, l1={**QUIET, "COHERENCE": "ttl"})
    keep_alone(cache)
    switch(False)
    assert not is_kept(cache, "a")
    cache.get("a")
    assert not is_kept(cache, "a")
    switch(True)
    keep_alone(cache)


def keep_alone(cache: TieredCache) -> None:
    cache.set("a", 1)
    cache.get("a")
    assert is_kept(cache, "a")


def test_pings_go_on_while_it_is_read_so_that_it_hears_of_on(
    url: str, admin: redis.Redis, switch: Switch
) -> None:
    cache = tiered(url, l1=QUICK)
    switch(False)
    with counted(admin) as calls:
        wait_until(
            lambda: cache.get("a") or admin.info("commandstats").get("cmdstat_ping"),
        )
    assert calls["ping"] >= 1


def test_what_the_settings_have_off_stays_off(url: str, switch: Switch) -> None:
    with override_settings(REDIS_OPTIMIZER={"ENABLED": False}):
        cache = tiered(url, ready=False)
        switch(False)
        switch(True)
        cache.get("a")
        assert cache.stats() == {}


def test_readers_and_a_switch_do_not_disturb_each_other(url: str, switch: Switch) -> None:
    cache, other = tiered(url), plain(url)
    cache.set("n", 0)
    errors: list[object] = []
    done = threading.Event()

    def read() -> None:
        try:
            while not done.is_set():
                assert 0 <= cache.get("n") <= 100
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(1, 101):
        other.set("n", number)
        switch(bool(number % 2))
    switch(True)
    wait_until(lambda: cache.get("n") == 100)
    wait_until(lambda: is_kept(cache, "n"))
    done.set()
    for thread in threads:
        thread.join(60)
    assert errors == []
