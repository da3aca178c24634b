"""The store: what it serves, and for how long."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from redis_optimizer.core import prefixes, s3fifo
from redis_optimizer.core import store as store_module
from redis_optimizer.core.s3fifo import HOTTEST
from redis_optimizer.core.store import SWEEP_STEP, LocalStore
from redis_optimizer.core.values import freeze, thaw
from tests.interrupts import interruptions

from .stores import Clock, check_books, keep, read


class TestOpening:
    def test_a_new_store_is_closed(self, clock: Clock) -> None:
        store = LocalStore(now=clock)
        assert store.lease("key") is None
        assert not keep(store, "key")
        assert read(store, "key") is None
        assert len(store) == 0

    def test_what_was_kept_is_not_served_once_closed(self, store: LocalStore) -> None:
        keep(store, "key")
        store.close()
        assert read(store, "key") is None
        assert store.count_valid() == 0

    def test_nor_when_opened_again(self, store: LocalStore) -> None:
        keep(store, "key")
        store.close()
        store.open()
        assert read(store, "key") is None
        keep(store, "key", "new")
        assert read(store, "key") == "new"

    def test_opening_an_open_store_begins_a_new_era(self, store: LocalStore) -> None:
        keep(store, "key")
        store.open()
        assert read(store, "key") is None

    def test_nothing_put_into_a_closed_store_is_served_later(self, store: LocalStore) -> None:
        store.close()
        store.put("key", "value", None, 1, store.now() + 60)
        assert read(store, "key") is None
        store.open()
        assert read(store, "key") is None


class TestLifetime:
    def test_a_value_is_served_until_it_expires(self, store: LocalStore, clock: Clock) -> None:
        keep(store, "key", age=10)
        clock.advance(9.999)
        assert read(store, "key") == "value"
        clock.advance(0.001)
        assert read(store, "key") is None

    def test_a_value_that_expired_already_is_never_served(self, store: LocalStore) -> None:
        keep(store, "key", age=-0.002)
        assert read(store, "key") is None

    def test_nothing_is_served_beyond_valid_until(self, store: LocalStore, clock: Clock) -> None:
        store.open(clock() + 5)
        keep(store, "key")
        clock.advance(4.999)
        assert read(store, "key") == "value"
        assert store.count_valid() == 1
        clock.advance(0.001)
        assert read(store, "key") is None
        assert store.count_valid() == 0

    def test_an_extension_serves_again_what_is_still_kept(
        self, store: LocalStore, clock: Clock
    ) -> None:
        store.open(clock() + 5)
        keep(store, "key")
        clock.advance(6)
        store.extend(clock() + 5)
        assert read(store, "key") == "value"

    def test_an_extension_that_comes_after_the_end_opens_nothing(
        self, store: LocalStore, clock: Clock
    ) -> None:
        store.close()
        store.extend(clock() + 5)
        assert store.valid_until == 0
        assert store.lease("key") is None

    def test_only_what_would_be_served_counts_as_valid(
        self, store: LocalStore, clock: Clock
    ) -> None:
        keep(store, "old")
        store.clear()
        keep(store, "short", age=1)
        keep(store, "long", age=2)
        assert store.count_valid() == 2
        clock.advance(1)
        assert store.count_valid() == 1
        assert "short" in store.entries

    def test_a_read_counts_when_it_is_served(self, store: LocalStore, clock: Clock) -> None:
        keep(store, "key", age=10)
        read(store, "absent")
        read(store, "key")
        read(store, "key")
        clock.advance(10)
        read(store, "key")
        assert store.hits == 2

    def test_reads_make_an_entry_hot_up_to_a_limit(self, store: LocalStore) -> None:
        keep(store, "key")
        heats = []
        for _ in range(HOTTEST + 2):
            read(store, "key")
            heats.append(store.entries["key"].hot)
        assert heats == [1, 2, 3, 3, 3]


class TestFlush:
    def test_clear_removes_everything_for_good(self, store: LocalStore) -> None:
        keep(store, "key")
        store.clear()
        assert read(store, "key") is None
        store.extend(store.now() + 60)
        assert read(store, "key") is None
        assert store.lease("key") is not None

    def test_clear_takes_constant_time(self, store: LocalStore) -> None:
        for n in range(50):
            keep(store, str(n))
        held = Untouchable(store.entries)
        store.entries = held
        store.clear()
        store.close()
        store.open()
        assert len(held) == 50

    def test_what_it_leaves_behind_soon_makes_room(self, clock: Clock) -> None:
        store = LocalStore(max_entries=100, now=clock)
        store.open()
        for era in range(5):
            for n in range(100):
                keep(store, f"{era} {n}")
                read(store, f"{era} {n}")
            assert store.count_valid() >= 100 - 2 * SWEEP_STEP
            store.clear()
            assert len(store) >= 100 - 2 * SWEEP_STEP
        check_books(store)

    def test_flushes_are_counted(self, store: LocalStore) -> None:
        before = store.flushes
        store.clear()
        assert store.flushes == before + 1


class Untouchable(dict[str, Any]):
    """A mapping that may be asked for its size alone."""

    def _refuse(self, *args: object) -> Any:
        raise AssertionError("looked at the entries")

    __iter__ = __getitem__ = __delitem__ = _refuse
    clear = get = items = keys = pop = values = _refuse


class TestDropping:
    def test_a_dropped_key_is_not_served(self, store: LocalStore) -> None:
        for key in "abc":
            keep(store, key)
        assert store.drop(key for key in ["a", "b", "absent"]) == 2
        assert [read(store, key) for key in "abc"] == [None, None, "value"]
        check_books(store)

    def test_a_dropped_key_can_be_kept_again(self, store: LocalStore) -> None:
        keep(store, "key", "old")
        store.drop(["key"])
        assert keep(store, "key", "new")
        assert read(store, "key") == "new"
        check_books(store)

    def test_a_key_dropped_twice_is_counted_once(self, store: LocalStore) -> None:
        keep(store, "key")
        assert store.drop(["key", "key"]) == 1


def test_values_come_back_as_they_were_frozen(store: LocalStore) -> None:
    value = {"a": [1, 2]}
    kept, load, size = freeze(value)
    store.fill("key", store.lease("key"), kept, load, size, store.now() + 60)
    entry = store.find("key")
    assert entry is not None
    assert thaw(entry.value, entry.load) == value


def test_nothing_wrong_is_served_wherever_a_signal_interrupts(clock: Clock) -> None:
    def check(interrupt: Callable[[Callable[[], Any]], None], work: Callable[..., Any]) -> None:
        store = LocalStore(3, 10_000, clock)
        store.open()
        under = store.under("p:")
        for key in ("p:a", "p:b", "p:c"):
            keep(store, key, "old")
        interrupt(partial(work, store))
        store.drop(["p:a", "p:d"])  # as when the server tells of it
        for key in ("a", "d"):
            assert read(store, f"p:{key}") is None
            assert key not in under or under[key].expires_at <= clock()
        if not store.is_open:
            store.open()
        for number in range(20):
            assert keep(store, f"p:{number}")
            assert read(store, f"p:{number}") == under[str(number)].value == "value"
            assert len(store) <= 3

    works = (
        lambda store: keep(store, "p:d"),  # others must make room
        lambda store: keep(store, "p:a"),
        lambda store: keep(store, "p:a", size=store.max_bytes),
        lambda store: store.drop(["p:a", "p:b"]),
        lambda store: store.clear() or keep(store, "p:d"),
        lambda store: store.close() or store.open(),
    )
    for work in works:
        lines = 0
        for interrupt in interruptions(store_module, s3fifo, prefixes):
            check(interrupt, work)
            lines += 1
        assert lines > 10
