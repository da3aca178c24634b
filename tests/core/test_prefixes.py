"""The entries of a store by what follows a prefix of their keys."""

from __future__ import annotations

from typing import Any

import pytest

from redis_optimizer.core.prefixes import PrefixIndex
from redis_optimizer.core.store import Entry, LocalStore

from .stores import Clock, check_books, keep, read


def test_entries_are_found_by_the_rest_of_their_key(store: LocalStore) -> None:
    under = store.under("site:1:")
    keep(store, "site:1:key")
    keep(store, "other:1:key")
    assert dict(under) == {"key": store.entries["site:1:key"]}


def test_those_that_are_kept_already_are_found_too(store: LocalStore) -> None:
    keep(store, "site:1:key")
    assert store.under("site:1:")["key"] is store.entries["site:1:key"]


def test_one_prefix_has_one_mapping(store: LocalStore) -> None:
    assert store.under("site:1:") is store.under("site:1:")


def test_one_key_may_have_several_prefixes(store: LocalStore) -> None:
    whole, site, both = (store.under(prefix) for prefix in ("", "a:1:", "a:1:b:1:"))
    keep(store, "a:1:b:1:key")
    assert [*whole, *site, *both] == ["a:1:b:1:key", "b:1:key", "key"]
    store.drop(["a:1:b:1:key"])
    assert not whole
    assert not site
    assert not both


def test_an_entry_takes_the_place_of_the_one_before(store: LocalStore) -> None:
    under = store.under("p:")
    keep(store, "p:key", "old")
    keep(store, "p:key", "new")
    assert under["key"].value == "new"


def test_what_makes_room_is_found_no_more(clock: Clock) -> None:
    store = LocalStore(max_entries=3, now=clock)
    store.open()
    under = store.under("p:")
    for n in range(10):
        keep(store, f"p:{n}")
        check_books(store)
    assert len(under) == 3


def test_nor_is_one_that_is_refused(store: LocalStore) -> None:
    under = store.under("p:")
    keep(store, "p:key", "old")
    assert not keep(store, "p:key", "new", size=store.max_bytes)
    assert not under


def test_what_a_finalizer_drops_while_it_is_put_is_not_served(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The GC may run one wherever Python code runs, with the lock held.
    under = store.under("p:")
    put = store._index.put

    def interrupted(key: str, entry: Entry) -> None:
        store.drop([key])
        put(key, entry)

    monkeypatch.setattr(store._index, "put", interrupted)
    keep(store, "p:key")
    assert read(store, "p:key") is None
    assert under["key"].expires_at <= store.now()


@pytest.mark.parametrize("room", ["dropped", "evicted"])
def test_what_is_removed_is_not_served_though_a_signal_interrupts_that(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, room: str
) -> None:
    store = LocalStore(max_entries=1, now=clock)
    store.open()
    under = store.under("p:")
    keep(store, "p:key")

    def interrupted(key: str) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(store._index, "remove", interrupted)
        with pytest.raises(KeyboardInterrupt):
            store.drop(["p:key"]) if room == "dropped" else keep(store, "p:other")
    assert read(store, "p:key") is None
    assert under["key"].expires_at <= store.now()
    keep(store, "p:key", "new")
    assert under["key"].value == read(store, "p:key") == "new"


def test_a_finalizer_may_ask_for_the_prefix_that_is_being_made() -> None:
    index: PrefixIndex[int] = PrefixIndex()

    class Entries(dict[str, int]):
        def items(self) -> Any:
            self.meanwhile = index.under("p:", {})
            return super().items()

    entries = Entries({"p:key": 1})
    assert index.under("p:", entries) is entries.meanwhile is index.under("p:", {})
