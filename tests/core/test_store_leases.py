"""Leases and watches: a value read before a key changed is never kept after it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from redis_optimizer.core.store import LocalStore

from .stores import Clock, check_books, keep, read

ENDS: dict[str, Callable[[LocalStore], object]] = {
    "drop": lambda store: store.drop(["other", "key"]),
    "clear": LocalStore.clear,
    "close": LocalStore.close,
    "open": LocalStore.open,
}


@pytest.fixture(params=list(ENDS))
def end(request: pytest.FixtureRequest) -> Callable[[LocalStore], object]:
    """Return something that happens to every key, "key" among them."""
    return ENDS[request.param]


def fill(store: LocalStore, lease: object, value: object = "value") -> bool:
    return store.fill("key", lease, value, None, 1, store.now() + 60)  # type: ignore[arg-type]


class TestLease:
    def test_is_good_for_one_fill(self, store: LocalStore) -> None:
        lease = store.lease("key")
        assert fill(store, lease, "first")
        assert not fill(store, lease, "second")
        assert read(store, "key") == "first"
        assert (store.fills, store.voided) == (1, 1)

    def test_is_void_once_the_key_changed(
        self, store: LocalStore, end: Callable[[LocalStore], object]
    ) -> None:
        lease = store.lease("key")
        end(store)
        assert not fill(store, lease)
        assert "key" not in store.entries
        assert store.voided == 1

    def test_stays_void_when_another_is_taken(
        self, store: LocalStore, end: Callable[[LocalStore], object]
    ) -> None:
        stale = store.lease("key")
        end(store)
        if not store.is_open:
            store.open()
        fresh = store.lease("key")
        assert fresh is not stale
        assert not fill(store, stale, "stale")
        assert fill(store, fresh, "fresh")
        assert read(store, "key") == "fresh"

    def test_is_not_harmed_by_what_happens_to_another_key(self, store: LocalStore) -> None:
        lease = store.lease("key")
        keep(store, "other")
        store.drop(["other", "third"])
        assert fill(store, lease)

    def test_is_void_for_another_key(self, store: LocalStore) -> None:
        lease = store.lease("other")
        store.lease("key")
        assert not fill(store, lease)

    def test_is_shared_by_readers_under_way(self, store: LocalStore) -> None:
        first, second = store.lease("key"), store.lease("key")
        assert first is second
        assert fill(store, second, "theirs")
        assert not fill(store, first, "ours")
        assert read(store, "key") == "theirs"

    def test_is_not_shared_with_a_reader_that_comes_after_the_fill(self, store: LocalStore) -> None:
        first = store.lease("key")
        fill(store, first)
        assert store.lease("key") is not first

    def test_a_shared_one_is_void_for_all_after_a_drop(self, store: LocalStore) -> None:
        first, second = store.lease("key"), store.lease("key")
        store.drop(["key"])
        assert not fill(store, first)
        assert not fill(store, second)

    def test_none_fills_nothing(self, store: LocalStore) -> None:
        assert not fill(store, None)
        store.lease("key")
        assert not fill(store, None)
        assert read(store, "key") is None

    def test_there_is_none_while_the_store_is_closed(self, store: LocalStore) -> None:
        store.close()
        assert store.lease("key") is None

    def test_there_is_one_while_valid_until_has_lapsed(
        self, store: LocalStore, clock: Clock
    ) -> None:
        store.open(clock() + 1)
        clock.advance(2)
        assert fill(store, store.lease("key"))
        assert read(store, "key") is None
        store.extend(clock() + 1)
        assert read(store, "key") == "value"

    def test_is_void_once_given_back(self, store: LocalStore) -> None:
        lease = store.lease("key")
        store.release("key", lease)
        assert not fill(store, lease)

    def test_giving_back_an_old_one_leaves_the_new_one(self, store: LocalStore) -> None:
        old = store.lease("key")
        store.drop(["key"])
        new = store.lease("key")
        store.release("key", old)
        store.release("key", None)
        assert fill(store, new)

    def test_none_is_left_behind(self, store: LocalStore) -> None:
        for number in range(4):
            for key in ("filled", "released", "dropped", "put"):
                lease = store.lease(key)
                if key == "filled":
                    store.fill(key, lease, number, None, 1, store.now() + 60)
                elif key == "released":
                    store.release(key, lease)
                elif key == "dropped":
                    store.drop([key])
                else:
                    store.put(key, number, None, 1, store.now() + 60)
        assert store._leases == {}

    def test_a_put_makes_it_void(self, store: LocalStore) -> None:
        lease = store.lease("key")
        store.put("key", "put", None, 1, store.now() + 60)
        assert not fill(store, lease, "stale")
        assert read(store, "key") == "put"

    def test_a_value_that_is_refused_uses_it_up(self, store: LocalStore) -> None:
        lease = store.lease("key")
        assert not store.fill("key", lease, "x", None, store.max_bytes, store.now() + 60)
        assert not fill(store, lease)
        assert "key" not in store.entries


class TestKnown:
    def known(self, store: LocalStore, key: str = "key") -> bool:
        lease = store.lease(key)
        assert lease is not None
        store.release(key, lease)
        return lease.known

    def test_a_new_key_is_not(self, store: LocalStore) -> None:
        assert not self.known(store)

    def test_a_key_that_expired_is(self, store: LocalStore, clock: Clock) -> None:
        keep(store, "key", age=1)
        clock.advance(2)
        assert self.known(store)

    @pytest.mark.parametrize("end", ["clear", "close", "open"])
    def test_a_key_of_an_older_era_is(self, store: LocalStore, end: str) -> None:
        keep(store, "key")
        ENDS[end](store)
        if not store.is_open:
            store.open()
        assert read(store, "key") is None
        assert self.known(store)

    def test_a_dropped_key_is_not(self, store: LocalStore) -> None:
        keep(store, "key")
        store.drop(["key"])
        assert not self.known(store)

    def test_a_key_in_the_ghost_is_until_it_returns(self, store: LocalStore) -> None:
        for n in range(150):
            keep(store, str(n))
        ghost = [key for key in map(str, range(150)) if key not in store.entries]
        assert all(self.known(store, key) for key in ghost)
        keep(store, ghost[0])
        assert self.known(store, ghost[0])
        store.drop([ghost[0]])
        assert not self.known(store, ghost[0])
        check_books(store)


class Bell:
    """A wake that counts its calls."""

    def __init__(self) -> None:
        self.rung = 0

    def __call__(self) -> None:
        self.rung += 1


class TestWatch:
    def test_wakes_whenever_the_key_changed(
        self, store: LocalStore, end: Callable[[LocalStore], object]
    ) -> None:
        bell = Bell()
        store.watch("key", bell)
        end(store)
        assert bell.rung == 1
        end(store)
        assert bell.rung == 2

    def test_does_not_wake_for_another_key_or_a_fill(self, store: LocalStore) -> None:
        bell = Bell()
        store.watch("key", bell)
        store.drop(["other"])
        keep(store, "key")
        store.extend(store.now() + 60)
        assert bell.rung == 0

    def test_ends_when_told_to(
        self, store: LocalStore, end: Callable[[LocalStore], object]
    ) -> None:
        first, second = Bell(), Bell()
        unwatch = store.watch("key", first)
        end_second = store.watch("key", second)
        unwatch()
        unwatch()
        end(store)
        assert (first.rung, second.rung) == (0, 1)
        end_second()
        assert store._watchers == {}

    def test_may_end_while_it_wakes(self, store: LocalStore) -> None:
        last = Bell()
        ends: list[Callable[[], None]] = []
        for _ in range(3):
            ends.append(store.watch("key", lambda: ends.pop()()))
        store.watch("key", last)
        store.drop(["key"])
        assert last.rung == 1
        assert ends == []

    def test_sees_the_key_dropped(self, store: LocalStore) -> None:
        keep(store, "key")
        seen: list[object] = []
        store.watch("key", lambda: seen.append(read(store, "key")))
        store.drop(["key"])
        assert seen == [None]

    @pytest.mark.parametrize("keys", [["watched", "key"], ["key", "watched"]])
    def test_one_that_fails_keeps_no_key_from_being_dropped(
        self, store: LocalStore, keys: list[str]
    ) -> None:
        def fail() -> None:
            raise RuntimeError("the event loop is closed")

        keep(store, "key")
        lease = store.lease("key")
        store.watch("watched", fail)
        with pytest.raises(RuntimeError):
            store.drop(keys)
        assert read(store, "key") is None
        assert not fill(store, lease)

    @pytest.mark.parametrize("end", ["clear", "close"])
    def test_one_that_fails_prevents_no_flush(self, store: LocalStore, end: str) -> None:
        def fail() -> None:
            raise RuntimeError("the event loop is closed")

        keep(store, "key")
        lease = store.lease("other")
        store.watch("watched", fail)
        with pytest.raises(RuntimeError):
            ENDS[end](store)
        assert read(store, "key") is None
        assert not store.fill("other", lease, "value", None, 1, store.now() + 60)
