"""What the tests of the store share: a clock that stands still, and short ways to fill and read."""

from __future__ import annotations

from collections import Counter

from redis_optimizer.core.store import LocalStore


class Clock:
    """Time passes when told to."""

    def __init__(self) -> None:
        self.time = 1000.0

    def __call__(self) -> float:
        return self.time

    def advance(self, seconds: float) -> None:
        self.time += seconds


def keep(
    store: LocalStore, key: str, value: object = "value", *, size: int = 1, age: float = 60
) -> bool:
    """Fill one key, as a reader does that found it nowhere."""
    return store.fill(key, store.lease(key), value, None, size, store.now() + age)


def read(store: LocalStore, key: str) -> object:
    """Return the value that is served, or None."""
    entry = store.find(key)
    return None if entry is None else entry.value


def check_books(store: LocalStore) -> None:
    """Assert that what the store says of itself agrees with what it holds."""
    assert store.bytes == sum(entry.size for entry in store.entries.values())
    assert store.bytes <= store.max_bytes
    assert len(store) <= store.max_entries
    queues = store._queues
    places = Counter([*queues._small, *queues._main])
    assert set(places.values()) <= {1}, "a key has two places"
    assert places.keys() - queues._vacant == store.entries.keys()
    assert queues._vacant <= places.keys()
    assert not queues._ghost.keys() & store.entries.keys()
    assert len(queues._ghost) <= store.max_entries
    for prefix, under in store._index._under.items():
        keys = [key for key in store.entries if key.startswith(prefix)]
        assert under == {key.removeprefix(prefix): store.entries[key] for key in keys}
