"""What is found when nothing better is to be had: for how long, and what never is."""

from __future__ import annotations

import random
from math import inf

import pytest

from redis_optimizer.core.eras import MOST
from redis_optimizer.core.store import MISSING, LocalStore

from .stores import Clock, check_books, keep, read

BOUND = 30


@pytest.fixture
def store(clock: Clock) -> LocalStore:
    """Return an open store with room for 100 entries."""
    store = LocalStore(max_entries=100, now=clock, stale_for=BOUND)
    store.open(clock() + 12)
    return store


def stale(store: LocalStore, key: str = "key") -> object:
    """Return the value that is found stale, or None."""
    entry = store.find_stale(key)
    return None if entry is None else entry.value


def found_for(store: LocalStore, clock: Clock) -> float:
    """Return for how many seconds more the key is found."""
    began = clock()
    while stale(store) is not None:
        clock.advance(0.5)
    return clock() - began


class TestBound:
    def test_it_begins_when_the_value_expires(self, store: LocalStore, clock: Clock) -> None:
        keep(store, "key", age=5)
        clock.advance(5)
        assert read(store, "key") is None
        assert found_for(store, clock) == BOUND

    def test_it_begins_when_the_trust_lapses(self, store: LocalStore, clock: Clock) -> None:
        keep(store, "key", age=100)
        clock.advance(12)
        assert read(store, "key") is None
        assert found_for(store, clock) == BOUND

    def test_it_begins_when_the_store_is_closed(self, store: LocalStore, clock: Clock) -> None:
        keep(store, "key", age=100)
        clock.advance(3)
        store.close()
        assert found_for(store, clock) == BOUND

    def test_a_store_that_is_closed_late_does_not_lengthen_it(
        self, store: LocalStore, clock: Clock
    ) -> None:
        keep(store, "key", age=100)
        clock.advance(12 + 4)
        store.close()
        assert found_for(store, clock) == BOUND - 4

    def test_nor_does_one_that_is_opened_again(self, store: LocalStore, clock: Clock) -> None:
        keep(store, "key", age=100)
        store.close()
        clock.advance(4)
        store.open(inf)
        assert read(store, "key") is None
        assert found_for(store, clock) == BOUND - 4

    def test_attempts_in_vain_to_open_it_change_nothing(
        self, store: LocalStore, clock: Clock
    ) -> None:
        keep(store, "key", age=100)
        for _ in range(2 * MOST):
            store.close()
        store.open()
        store.close()
        assert found_for(store, clock) == BOUND

    def test_trust_that_comes_back_begins_it_anew(self, store: LocalStore, clock: Clock) -> None:
        keep(store, "key", age=100)
        clock.advance(20)
        store.extend(clock() + 5)
        assert read(store, "key") == "value"
        clock.advance(5)
        assert found_for(store, clock) == BOUND

    def test_it_can_be_switched_off(self, clock: Clock) -> None:
        store = LocalStore(now=clock)
        store.open()
        keep(store, "key", age=5)
        assert stale(store) is None
        clock.advance(5)
        assert stale(store) is None


class TestNever:
    def test_what_was_dropped(self, store: LocalStore) -> None:
        keep(store, "key")
        store.close()
        store.drop(["key"])
        assert stale(store) is None

    def test_what_was_cleared(self, store: LocalStore) -> None:
        keep(store, "key")
        store.clear()
        assert stale(store) is None

    def test_what_was_lost_before_it_was_cleared(self, store: LocalStore) -> None:
        keep(store, "key")
        store.close()
        store.clear()
        store.open()
        assert stale(store) is None

    def test_what_was_cleared_before_it_was_lost(self, store: LocalStore) -> None:
        keep(store, "key")
        store.clear()
        store.close()
        assert stale(store) is None

    def test_a_known_miss(self, store: LocalStore) -> None:
        store.fill("key", store.lease("key"), None, MISSING, 0, store.now() + 60)
        store.close()
        assert stale(store) is None

    def test_what_a_newer_answer_has_settled(self, store: LocalStore, clock: Clock) -> None:
        keep(store, "key", age=5)
        keep(store, "other", age=60)
        clock.advance(5)
        store.settle({key: store.entries.get(key) for key in ("key", "other")})
        assert stale(store) is None
        assert stale(store, "other") == "value"

    def test_an_answer_that_waits_for_trust_is_not_settled(
        self, store: LocalStore, clock: Clock
    ) -> None:
        keep(store, "key", "old")
        clock.advance(20)
        before = {"key": store.entries["key"]}
        keep(store, "key")
        store.settle(before)
        store.extend(clock() + 12)
        assert read(store, "key") == "value"

    def test_what_was_asked_for_anew_because_trust_was_over_is_settled(
        self, store: LocalStore, clock: Clock
    ) -> None:
        keep(store, "key")
        clock.advance(20)
        store.settle({"key": store.entries["key"]})  # by an answer that is not kept
        assert stale(store) is None

    def test_the_last_value_alone_is_found(self, store: LocalStore) -> None:
        keep(store, "key", "old")
        store.close()
        store.open()
        keep(store, "key", "new")
        store.close()
        assert stale(store) == "new"


class TestRoom:
    def test_what_may_be_found_is_left_by_the_clean_up(
        self, store: LocalStore, clock: Clock
    ) -> None:
        keep(store, "key")
        store.close()
        store.open()
        for number in range(50):
            keep(store, str(number))
        assert stale(store) == "value"
        check_books(store)

    def test_and_is_taken_by_it_later(self, store: LocalStore, clock: Clock) -> None:
        keep(store, "key")
        clock.advance(301 + BOUND)
        for number in range(50):
            keep(store, str(number))
        assert "key" not in store.entries

    def test_it_gives_way_to_what_can_be_served(self, store: LocalStore) -> None:
        for number in range(100):
            keep(store, f"old {number}")
        store.close()
        store.open()
        for number in range(100):
            keep(store, f"new {number}")
        assert store.count_valid() > 80
        check_books(store)

    def test_a_channel_that_fails_all_the_time_costs_no_memory(
        self, store: LocalStore, clock: Clock
    ) -> None:
        for _ in range(3 * MOST):
            store.close()
            store.open()
        assert len(store._eras._ends) <= MOST


@pytest.mark.parametrize("seed", range(12))
def test_any_history_keeps_the_bound(seed: int) -> None:
    """Watch each value as it is served, second by second, and compare what is found later."""
    chance = random.Random(seed)
    clock = Clock()
    store = LocalStore(max_entries=1000, now=clock, stale_for=BOUND)
    values: dict[str, int] = {}  # what was kept last and not removed since
    fresh: dict[str, float] = {}  # when it was seen to be servable last
    keys = [f"key {number}" for number in range(12)]
    acts = ["keep"] * 8 + ["drop", "clear", "close", "open", "open", "extend", "extend", "settle"]
    for step in range(400):
        key = chance.choice(keys)
        match chance.choice(acts):
            case "keep":
                if keep(store, key, step, age=chance.randint(1, 40)):
                    values[key] = step
                    fresh[key] = clock()
            case "drop":
                store.drop([key])
                values.pop(key, None)
            case "clear" if chance.random() < 0.2:
                store.clear()
                values.clear()
            case "close":
                store.close()
            case "open":
                store.open(clock() + chance.randint(5, 20))
            case "extend":
                store.extend(clock() + chance.randint(5, 20))
            case "settle":
                served = read(store, key)
                store.settle({key: store.entries.get(key)})
                if served is None and key not in store.entries:
                    values.pop(key, None)
        clock.advance(chance.choice([0, 0, 1]))
        for key in keys:
            served, found = read(store, key), stale(store, key)
            assert served in (None, values.get(key))
            assert found in (None, values.get(key))
            if served is not None:
                fresh[key] = clock()
            if found is not None:
                assert clock() < fresh[key] + 1 + BOUND
            elif key in values:
                assert clock() >= fresh[key] + BOUND
        check_books(store)
