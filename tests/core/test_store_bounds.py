"""The store's bounds: how much it keeps, how it makes room, and that its books agree."""

from __future__ import annotations

import contextlib
import random
from itertools import pairwise
from typing import Any

import pytest

from redis_optimizer.core.s3fifo import HOTTEST, MAX_SCAN
from redis_optimizer.core.store import (
    MISSING,
    OVERHEAD,
    SWEEP_INTERVAL,
    SWEEP_STEP,
    Entry,
    LocalStore,
)
from redis_optimizer.core.values import thaw

from .stores import Clock, check_books, keep, read


class TestBounds:
    def test_there_are_never_more_than_max_entries(self, clock: Clock) -> None:
        store = LocalStore(max_entries=7, now=clock)
        store.open()
        for n in range(100):
            assert keep(store, str(n))
            assert read(store, str(n)) == "value"
            assert len(store) <= 7
        assert store.evictions == 93
        check_books(store)

    @pytest.mark.parametrize("max_entries", [1, 2, 3])
    def test_a_very_small_store_works(self, clock: Clock, max_entries: int) -> None:
        store = LocalStore(max_entries=max_entries, now=clock)
        store.open()
        for n in [*range(10), 3, 3, 9, 8, 7, 3]:
            keep(store, str(n))
            assert read(store, str(n)) == "value"
            check_books(store)

    def test_there_are_never_more_than_max_bytes(self, clock: Clock) -> None:
        store = LocalStore(max_bytes=100_000, now=clock)
        store.open()
        for n in range(100):
            assert keep(store, str(n), size=5_000)
            check_books(store)
        assert len(store) == 100_000 // (5_000 + 2 + OVERHEAD)

    def test_an_entry_costs_its_key_its_value_and_the_overhead(self, store: LocalStore) -> None:
        keep(store, "key", size=1000)
        assert store.bytes == 3 + 1000 + OVERHEAD
        keep(store, "key", size=500)
        assert store.bytes == 3 + 500 + OVERHEAD
        store.drop(["key"])
        assert store.bytes == 0

    def test_a_value_may_take_an_eighth_of_the_bytes(self, clock: Clock) -> None:
        store = LocalStore(max_bytes=80_000, now=clock)
        store.open()
        largest = 10_000 - OVERHEAD - len("key")
        assert keep(store, "key", size=largest)
        assert not keep(store, "key", size=largest + 1)
        assert store.refused == 1

    def test_a_value_that_is_refused_takes_the_old_one_along(self, store: LocalStore) -> None:
        keep(store, "key", "old")
        assert not keep(store, "key", "new", size=store.max_bytes)
        assert read(store, "key") is None
        check_books(store)

    def test_a_value_that_grows_makes_room_among_the_others(self, clock: Clock) -> None:
        store = LocalStore(max_bytes=10 * 1000, now=clock)
        store.open()
        for n in range(10):
            keep(store, str(n), size=1000 - OVERHEAD - 1)
        for n in range(10):
            assert keep(store, str(n), "grown", size=1250 - OVERHEAD - 1)
            assert read(store, str(n)) == "grown"
            check_books(store)
        assert len(store) == 8

    def test_a_remembered_miss_is_an_entry_like_any_other(self, store: LocalStore) -> None:
        store.fill("key", store.lease("key"), None, MISSING, 0, store.now() + 5)
        entry = store.find("key")
        assert entry is not None
        assert thaw(entry.value, entry.load) is MISSING
        assert repr(MISSING) == "MISSING"
        assert store.bytes == 3 + OVERHEAD


class TestCleanUp:
    @pytest.fixture
    def full(self, clock: Clock) -> LocalStore:
        store = LocalStore(max_entries=1000, now=clock)
        store.open()
        for n in range(400):
            keep(store, f"dead{n}", age=10)
        clock.advance(SWEEP_INTERVAL - 1)
        return store

    def test_nothing_is_looked_for_before_its_time(self, full: LocalStore) -> None:
        keep(full, "key")
        assert len(full) == 401

    def test_each_fill_removes_a_few(self, full: LocalStore, clock: Clock) -> None:
        clock.advance(1)
        sizes = [len(full)]
        while full.count_valid() < len(full):
            keep(full, "key")
            sizes.append(len(full))
            assert len(sizes) < 100, "expired entries stay"
        assert max(a - b for a, b in pairwise(sizes)) <= SWEEP_STEP
        assert len(full) == 1
        assert read(full, "key") == "value"
        assert full.evictions == 0
        check_books(full)

    def test_entries_of_an_older_era_go_as_well(self, full: LocalStore, clock: Clock) -> None:
        keep(full, "old", age=10 * SWEEP_INTERVAL)
        full.clear()
        clock.advance(1)
        for n in range(60):
            keep(full, f"new{n}")
        assert "old" not in full.entries
        assert len(full) == 60

    def test_a_slow_site_is_cleaned_up_to_the_end(self, clock: Clock) -> None:
        store = LocalStore(max_entries=1000, now=clock)
        store.open()
        for n in range(100):
            keep(store, f"live{n}", age=1e9)
        keep(store, "dead", age=10)
        for _ in range(30):  # fills, fewer in each interval than a clean-up takes
            clock.advance(SWEEP_INTERVAL / 5)
            keep(store, "live0", age=1e9)
        assert "dead" not in store.entries


class CountingDict(dict[str, Entry]):
    looked_up = 0

    def get(self, key: str, default: Any = None) -> Any:
        self.looked_up += 1
        return super().get(key, default)


def test_an_eviction_looks_at_few_entries_even_when_all_are_hot(clock: Clock) -> None:
    store = LocalStore(max_entries=5000, now=clock)
    store.open()
    for n in range(5000):
        keep(store, str(n))
        for _ in range(HOTTEST):
            read(store, str(n))
    store.entries = entries = CountingDict(store.entries)
    most = 0
    for n in range(100):
        entries.looked_up = 0
        keep(store, f"new{n}")
        most = max(most, entries.looked_up)
    assert most <= 2 * MAX_SCAN  # both queues at worst
    assert store.evictions == 100


@pytest.mark.parametrize("entries", [1, 3, 100])
@pytest.mark.parametrize("size", [1, 400])
@pytest.mark.parametrize("call", ["put", "remove", "add", "vacate", "evict", "recall", "compact"])
def test_a_store_goes_on_after_the_exception_of_a_signal(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, call: str, size: int, entries: int
) -> None:
    # Celery's SoftTimeLimitExceeded may come at any line.
    store = LocalStore(entries, 8_000, clock)
    store.open()
    part: Any = store._index if hasattr(store._index, call) else store._queues
    work, due = getattr(part, call), [False]

    def interrupted(*args: Any, **kwargs: Any) -> Any:
        if due.pop():
            due.append(False)
            raise KeyboardInterrupt
        due.append(False)
        return work(*args, **kwargs)

    monkeypatch.setattr(part, call, interrupted)
    for n in range(50):
        due[:] = [n % 5 == 4]
        with contextlib.suppress(KeyboardInterrupt):
            keep(store, str(n), size=size)
        due[:] = [n % 5 == 2]
        with contextlib.suppress(KeyboardInterrupt):
            store.drop([str(n), str(n // 2)])
            keep(store, str(n // 3), size=size)
    due[:] = [False]
    for n in range(200):
        assert keep(store, f"new{n}", size=size)
        assert read(store, f"new{n}") == "value"
        assert len(store) <= entries
        assert store.bytes <= store.max_bytes


def test_bytes_that_nobody_has_are_not_counted_for_ever(store: LocalStore) -> None:
    keep(store, "key")
    store.bytes += 2 * store.max_bytes  # as when an exception comes just before they are let go
    keep(store, "new")
    assert read(store, "new") == "value"
    check_books(store)


@pytest.mark.parametrize("seed", range(6))
def test_books_agree_after_any_operations(seed: int, clock: Clock) -> None:
    dice = random.Random(seed)
    store = LocalStore(dice.choice([1, 5, 30, 60]), dice.choice([5_000, 20_000, 10**6]), clock)
    store.open()
    truth: dict[str, tuple[object, float]] = {}
    keys = [f"key{n}" for n in range(80)]

    def put(key: str) -> None:
        value, size, age = dice.random(), dice.randrange(500), dice.choice([0, 1, 10, 1000])
        kept = dice.choice([keep, put_without_lease])(store, key, value, size=size, age=age)
        truth.pop(key, None)
        if kept:
            truth[key] = (value, clock() + age)

    def drop(key: str) -> None:
        names = {key, *dice.sample(keys, dice.randrange(5))}
        store.drop(names)
        for name in names:
            truth.pop(name, None)

    def flush(key: str) -> None:
        dice.choice([store.clear, store.open])()
        truth.clear()

    def look(key: str) -> None:
        value = read(store, key)
        expected, until = truth.get(key, (None, 0))
        assert value is None or (value == expected and clock() < until)

    def wait(key: str) -> None:
        clock.advance(dice.choice([0.5, 5, SWEEP_INTERVAL]))

    steps = [*[put] * 40, *[look] * 40, *[drop] * 15, wait, flush]
    for _ in range(4000):
        dice.choice(steps)(dice.choice(keys))
        check_books(store)


def put_without_lease(store: LocalStore, key: str, value: object, *, size: int, age: float) -> bool:
    return store.put(key, value, None, size, store.now() + age)


@pytest.mark.parametrize("keys", [["a", "b", "c"], [str(n) for n in range(5000)]])
def test_endless_drops_and_refills_do_not_make_the_queues_grow(keys: list[str]) -> None:
    store = LocalStore(max_entries=10)
    store.open()
    longest = 0
    for n in range(10_000):
        key = keys[n % len(keys)]
        keep(store, key)
        store.drop([key])
        queues = store._queues
        longest = max(longest, len(queues._small) + len(queues._main) + len(queues._vacant))
    assert longest <= 2 * (64 + 10 + 2)
    assert len(store) == 0
