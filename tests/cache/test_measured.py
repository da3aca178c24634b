"""What caches do for a request that is measured is counted, and for no other."""

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.cache import cache as default
from django.core.cache import caches
from redis.connection import AbstractConnection

from redis_optimizer.cache import TieredCache
from redis_optimizer.cache.measured import CountedStore, measured
from redis_optimizer.core.store import LocalStore
from redis_optimizer.stats.costs import Costs, current, measuring

from .caches import QUIET, keep, plain, settings, tiered
from .calls import CALLS, Call, fill, outcome

# What they return sends, when it is iterated.
LATER = {"iter_keys", "sscan_iter"}


@pytest.fixture
def costs() -> Costs:
    return Costs()


@pytest.fixture
def warm() -> Iterator[TieredCache]:
    """Return the default cache, as this thread has it; it keeps two keys."""
    cache: Any = caches["default"]
    assert cache.tier.wait_ready(10)
    keep(cache, {"one": 1, "list": [1, 2]})
    yield cache
    assert type(caches["default"]._store) is LocalStore  # type: ignore[attr-defined]


# Round trips


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list with one item for each sending of this thread."""
    sent: list[int] = []
    send, thread = AbstractConnection.send_packed_command, threading.get_ident()

    def note(self: Any, *args: Any, **kwargs: Any) -> None:
        if threading.get_ident() == thread:
            sent.append(1)
        send(self, *args, **kwargs)

    monkeypatch.setattr(AbstractConnection, "send_packed_command", note)
    return sent


@pytest.mark.parametrize("is_on", [True, False], ids=["tier", "no tier"])
@pytest.mark.parametrize("call", CALLS, ids=repr)
def test_each_call_that_sends_is_counted_and_none_twice(
    url: str, sent: list[int], costs: Costs, call: Call, is_on: bool
) -> None:
    fill(plain(url))
    cache = tiered(url, ready=is_on, l1={**QUIET, "ENABLED": is_on})
    sent.clear()
    with measuring(costs):
        outcome(lambda: call(cache))
    if sent and call.name not in LATER:
        assert 1 <= costs.trips <= len(sent)
        assert costs.seconds > 0


def test_a_call_that_fails_is_counted_too(
    warm: TieredCache, costs: Costs, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise ConnectionError

    monkeypatch.setattr(warm.client, "ttl", fail)
    with measured(costs), pytest.raises(ConnectionError):
        default.ttl("one")  # type: ignore[attr-defined]
    assert costs.trips == 1


def test_each_step_of_a_lock_is_counted(warm: TieredCache, costs: Costs) -> None:
    with measured(costs):
        lock = default.lock("lock", timeout=60)  # type: ignore[attr-defined]
        assert costs.trips == 0
        with lock:
            assert costs.trips == 1
        assert costs.trips == 2


async def test_coroutines_are_counted_in_whatever_thread_they_run(costs: Costs) -> None:
    with measured(costs):
        await asyncio.gather(*(default.aget(f"k{number}") for number in range(5)))
        await default.aset("k", 1)
    assert (costs.hits, costs.trips) == (0, 6)


# Hits


@pytest.mark.usefixtures("warm")
def test_hits_of_every_reader_are_counted(costs: Costs) -> None:
    with measured(costs):
        assert default.get("one") == 1
        assert default.get("list") == [1, 2]
        assert default.has_key("one")
        assert default.get_or_set("one", 2) == 1
        assert default.get_many(["one", "list"]) == {"one": 1, "list": [1, 2]}
    assert (costs.hits, costs.trips) == (6, 0)


@pytest.mark.usefixtures("warm")
def test_what_is_not_known_here_is_a_trip(costs: Costs) -> None:
    with measured(costs):
        assert default.get_many(["one", "absent", "missing"]) == {"one": 1}
    assert (costs.hits, costs.trips) == (1, 1)


async def test_hits_of_coroutines_are_counted(costs: Costs) -> None:
    cache: Any = caches["default"]
    await asyncio.to_thread(cache.tier.wait_ready, 10)
    await asyncio.to_thread(keep, cache, {"one": 1})
    with measured(costs):
        assert await default.aget("one") == 1
        assert await default.ahas_key("one")
        assert await default.aget_or_set("one", 2) == 1
        assert await default.aget_many(["one"]) == {"one": 1}
    assert (costs.hits, costs.trips) == (4, 0)


def test_the_tier_counts_them_as_ever(warm: TieredCache, costs: Costs) -> None:
    before = warm.tier.store.hits
    with measured(costs):
        for _ in range(3):
            default.get("one")
        default.has_key("one")
    assert warm.tier.store.hits == before + 4


@pytest.mark.usefixtures("warm")
def test_a_cache_that_is_made_meanwhile_counts_until_the_end(costs: Costs) -> None:
    del caches["default"]
    with measured(costs):
        default.get("one")
        made: Any = caches["default"]
    assert costs.hits == 1
    assert caches["default"] is made
    default.get("one")
    assert costs.hits == 1


def test_a_cache_of_the_sites_own_class_stays_one(settings: Any, costs: Costs) -> None:
    own = f"{__name__}.Own"
    settings.CACHES = {"default": {**settings.CACHES["default"], "BACKEND": own}}
    cache: Any = caches["default"]
    assert cache.tier.wait_ready(10)
    keep(cache, {"one": 1})
    with measured(costs):
        assert type(caches["default"]) is Own
        assert default.get("one") == 1
    assert costs.hits == 1


class Own(TieredCache):
    """A cache that a site has changed."""


# Of the request alone


def test_another_thread_is_not_measured(warm: TieredCache, costs: Costs) -> None:
    seen: list[Any] = []

    def read() -> None:
        seen.extend((current(), caches["default"]._store))  # type: ignore[attr-defined]
        default.get("one")
        default.ttl("one")  # type: ignore[attr-defined]

    with measured(costs):
        thread = threading.Thread(target=read)
        thread.start()
        thread.join(60)
    assert seen == [None, warm.tier.store]
    assert (costs.hits, costs.trips) == (0, 0)


async def test_a_task_that_shares_the_cache_is_not_measured(costs: Costs) -> None:
    # As under ASGI, where the caches of the server's own context are those of every request.
    cache: Any = caches["default"]
    await asyncio.to_thread(cache.tier.wait_ready, 10)
    await asyncio.to_thread(keep, cache, {"one": 1})
    one, two = Costs(), Costs()
    both = asyncio.Barrier(3)

    async def serve(costs: Costs, reads: int) -> None:
        with measured(costs):
            await both.wait()
            for _ in range(reads):
                await default.aget("one")
            await both.wait()
            default.get("one")

    async def pass_by() -> None:
        await both.wait()
        assert caches["default"] is cache
        assert await default.aget("one") == 1
        await both.wait()

    await asyncio.gather(serve(one, 2), serve(two, 5), pass_by())
    assert (one.hits, two.hits) == (3, 6)
    assert type(cache._store) is LocalStore


def test_inside_another_each_counts_its_own(warm: TieredCache) -> None:
    outer, inner = Costs(), Costs()
    with measured(outer):
        default.get("one")
        with measured(inner):
            default.get("one")
            default.get("one")
            default.ttl("one")  # type: ignore[attr-defined]
        default.get("one")
    assert (outer.hits, outer.trips) == (2, 0)
    assert (inner.hits, inner.trips) == (2, 1)


def test_the_cache_keeps_what_it_learned_meanwhile(warm: TieredCache, costs: Costs) -> None:
    with measured(costs):
        default.set("two", 2)
        client = caches["default"].client  # type: ignore[attr-defined]
    assert caches["default"].client is client  # type: ignore[attr-defined]
    assert default.get("two") == 2


def test_a_class_of_the_site_may_have_a_property_in_the_place_of_the_client(url: str) -> None:
    class Own(TieredCache):
        @property
        def client(self) -> Any:
            return super().client

    cache = Own(url, settings("t", None, {}))
    cache.set("one", 1)
    assert cache.get("one") == 1
    assert cache.client is cache.client


def test_a_store_that_counts_is_otherwise_the_real_one(costs: Costs) -> None:
    store = LocalStore()
    counting = CountedStore(store, costs)
    assert counting.valid_until == store.valid_until
    assert counting.lock is store.lock
    assert counting.find("absent") is None
    assert costs.hits == 0
