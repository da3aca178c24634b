"""Tiers that are broken on purpose: the checker must find each of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import inf
from typing import Any

from redis_optimizer.core.store import LocalStore


def fill_without_lease() -> None:
    """Keep whatever was read, even when the key was written since the read was sent."""

    def fill(self: LocalStore, key: str, lease: object, *entry: Any, **rest: Any) -> bool:
        return self.is_open and self.put(key, *entry, **rest)

    LocalStore.fill = fill  # type: ignore[method-assign]  # that is the mutation


def drop_nothing() -> None:
    """Keep what the server, or a write of this process, declared void."""

    def drop(self: LocalStore, keys: Iterable[str]) -> int:
        return 0

    LocalStore.drop = drop  # type: ignore[method-assign]  # that is the mutation


def trust_for_ever() -> None:
    """Serve what is kept for as long as the channel has not been found lost."""
    open_store = LocalStore.open

    def open_for_ever(self: LocalStore, valid_until: float = inf) -> None:
        open_store(self, inf)

    LocalStore.open = open_for_ever  # type: ignore[method-assign]  # that is the mutation
    LocalStore.extend = lambda *_: None  # type: ignore[method-assign]  # as above


MUTATIONS: dict[str, Callable[[], None]] = {
    "no-lease": fill_without_lease,
    "no-drop": drop_nothing,
    "no-bound": trust_for_ever,
}
