"""A store whose time passes when told to."""

from __future__ import annotations

import pytest

from redis_optimizer.core.store import LocalStore

from .stores import Clock


@pytest.fixture
def clock() -> Clock:
    """Return the store's clock."""
    return Clock()


@pytest.fixture
def store(clock: Clock) -> LocalStore:
    """Return an open store with room for 100 entries."""
    store = LocalStore(max_entries=100, now=clock)
    store.open()
    return store
