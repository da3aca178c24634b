"""For how long a value is kept: EXACT_TTL, MAX_AGE, NEGATIVE_AGE, and what is never kept."""

from typing import Any

import pytest
import redis

from redis_optimizer.cache import TieredCache
from tests.servers import wait_until

from .caches import QUIET, deaf, is_kept, keep, plain, settle, tiered, wait_dropped

STALENESS = QUIET["MAX_STALENESS"]


def left(cache: TieredCache, key: str = "k") -> float:
    """Return for how long the entry will be served, in seconds."""
    return cache.tier.store.entries[cache.client.make_key(key)].expires_at - cache.tier.now()


def lapse(cache: TieredCache, key: str = "k") -> None:
    """Let the lifetime of what is kept be over, so that the key is known, but read again."""
    cache.tier.store.entries[cache.client.make_key(key)].expires_at = 0.0


@pytest.mark.parametrize(
    ("exact", "ttl", "first", "again"),
    [
        ("auto", 30, STALENESS, 30),
        ("auto", 900, STALENESS, 300),
        ("auto", None, STALENESS, 300),
        (True, 30, 30, 30),
        (True, 900, 300, 300),
        (True, None, 300, 300),
        (False, 30, STALENESS, STALENESS),
        (False, None, STALENESS, STALENESS),
    ],
)
def test_a_value_lives_as_long_as_is_known(
    url: str, exact: Any, ttl: int | None, first: float, again: float
) -> None:
    cache = tiered(url, l1={**QUIET, "EXACT_TTL": exact, "MAX_AGE": 300})
    keep(cache, {"k": 1}, timeout=ttl)
    assert left(cache) == pytest.approx(first, abs=5)
    assert left(cache) <= first
    lapse(cache)
    cache.get("k")
    assert left(cache) == pytest.approx(again, abs=5)
    assert left(cache) <= again


def test_max_age_caps_every_lifetime(url: str) -> None:
    cache = tiered(url, l1={**QUIET, "MAX_AGE": 3})
    keep(cache, {"k": 1})
    assert 0 < left(cache) <= 3
    lapse(cache)
    cache.get("k")
    cache.get("absent")
    assert 0 < left(cache) <= 3
    assert 0 < left(cache, "absent") <= 3


def test_get_many_never_asks_for_a_ttl(url: str) -> None:
    cache = tiered(url, l1={**QUIET, "EXACT_TTL": True})
    cache.set("k", 1, 30)
    settle(cache)
    cache.get_many(["k", "absent"])
    assert left(cache) == pytest.approx(STALENESS, abs=5)
    assert left(cache, "absent") == pytest.approx(5, abs=5)


def test_a_ttl_that_is_known_ends_it_without_being_told(cache: TieredCache) -> None:
    keep(cache, {"k": 1})
    lapse(cache)
    with deaf(cache):
        cache.expire("k", 60)
        cache.get("k")
        lapse(cache)
        cache.client.get_client().pexpire(cache.client.make_key("k"), 400)
        assert cache.get("k") == 1
        assert left(cache) <= 0.4
        wait_dropped(cache, "k")
        wait_until(lambda: cache.get("k") is None)  # it ends here a moment before it does in Redis


@pytest.mark.parametrize("age", [0.5, 60])
def test_a_miss_is_remembered_for_as_long_as_asked(url: str, age: float) -> None:
    cache = tiered(url, l1={**QUIET, "NEGATIVE_AGE": age})
    assert cache.get("absent") is None
    assert cache.get_many(["missing"]) == {}
    for key in ("absent", "missing"):
        assert 0 < left(cache, key) <= age


def test_a_miss_is_not_remembered_if_not_asked(url: str) -> None:
    cache = tiered(url, l1={**QUIET, "NEGATIVE_AGE": 0})
    assert cache.get("absent") is None
    assert not is_kept(cache, "absent")
    assert cache.tier.store._leases == {}


def test_excluded_keys_are_never_kept(url: str) -> None:
    cache = tiered(url, l1={**QUIET, "EXCLUDE": ["session:*", "*.tmp"]})
    keep(cache, {"k": 1, "sessions": 2})
    cache.set_many({"session:1": 3, "a.tmp": 4})
    settle(cache)
    for key in ("session:1", "a.tmp"):
        for _ in range(2):
            assert cache.get(key) == plain(url).get(key)
            assert cache.get_many([key, "k"])[key] == plain(url).get(key)
            assert not is_kept(cache, key)


def test_only_keys_under_the_prefixes_are_kept(url: str) -> None:
    cache = tiered(url, l1={**QUIET, "PREFIXES": ["t:1:a", "t:2:"]})
    cache.set_many({"a": 1, "b": 2})
    cache.set("b", 3, version=2)
    settle(cache)
    for _ in range(2):
        assert cache.get_many(["a", "b"]) == {"a": 1, "b": 2}
        assert (cache.get("a"), cache.get("b"), cache.get("b", version=2)) == (1, 2, 3)
    assert (is_kept(cache, "a"), is_kept(cache, "b"), is_kept(cache, "b", 2)) == (True, False, True)


def test_overlapping_prefixes_are_merged(url: str) -> None:
    cache = tiered(url, l1={**QUIET, "PREFIXES": ["t:1:", "t:", "t:1:a"]})
    keep(cache, {"a": 1})
    plain(url).set("a", 2)
    wait_dropped(cache, "a")


def test_without_a_key_prefix_the_keys_are_tracked_as_well(url: str) -> None:
    cache = tiered(url, prefix="")
    keep(cache, {"a": 1})
    plain(url, prefix="").set("a", 2)
    wait_dropped(cache, "a")


def test_entries_and_bytes_are_bounded(url: str) -> None:
    cache = tiered(url, l1={**QUIET, "MAX_ENTRIES": 10, "MAX_BYTES": 100_000})
    cache.set_many({str(n): "x" * 100 for n in range(50)})
    settle(cache)
    for n in range(50):
        assert cache.get(str(n)) == "x" * 100
    assert cache.stats()["total_entries"] <= 10
    assert cache.stats()["evictions"] >= 40
    cache.set("huge", "x" * 50_000)
    settle(cache)
    assert cache.get("huge") == "x" * 50_000
    assert not is_kept(cache, "huge")
    assert cache.stats()["fills_refused"] == 1
    assert cache.stats()["bytes"] <= 100_000


def test_a_tier_that_goes_by_ttl_says_so(url: str, admin: redis.Redis) -> None:
    cache = tiered(url, l1={"COHERENCE": "ttl", "MAX_AGE": 40, "START_AFTER": 0})
    assert cache.stats()["coherence"] == "ttl"
    assert cache.stats()["staleness_bound"] == 40
    assert not any("redis_optimizer" in client["name"] for client in admin.client_list())
    cache.set("k", 1, 20)
    assert cache.get("k") == 1
    assert 15 < left(cache) <= 20
    plain(url).set("k", 2)
    assert cache.get("k") == 1
    cache.set("k", 3, None)
    assert cache.get("k") == 3
    assert 35 < left(cache) <= 40
