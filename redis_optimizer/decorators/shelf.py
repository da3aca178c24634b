"""Where responses are kept: in this process, a bounded number of them."""

import time
from collections.abc import Callable
from typing import Any, Final

from redis_optimizer.conf import Settings, get_settings
from redis_optimizer.core.kept import Kept
from redis_optimizer.core.store import LocalStore
from redis_optimizer.switches import on_change

__all__ = ["Shelf", "shelf"]


class Shelf:
    """The responses of all views that this process keeps.

    Bounded by the settings RESPONSE_ENTRIES and RESPONSE_BYTES; which stay is decided as in the
    cache's tier, so that many keys asked for once do not push out those that are polled.

    Args:
        now: Clock in seconds; must be monotonic.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self.now = now
        self._settings: Settings | None = None
        # Typed for text; any key does whose length is a small number.
        self._store: Any = None

    def __len__(self) -> int:
        """Return how many responses are kept. Looks at each."""
        return int(self.store.count_valid())

    @property
    def store(self) -> Any:
        """The store; a new one when the settings have changed."""
        settings = get_settings()
        if settings is not self._settings:
            self._store = LocalStore(
                settings.RESPONSE_ENTRIES, settings.RESPONSE_BYTES, now=lambda: self.now()
            )
            self._store.open()
            self._settings = settings
        return self._store

    def get(self, key: Any) -> Kept[Any] | None:
        """Return what is kept under a key."""
        entry = self.store.find(key)
        return None if entry is None else entry.value

    def put(self, key: Any, kept: Kept[Any]) -> bool:
        """Keep a response, unless it is too large."""
        until = self.now() + kept.fresh_for + kept.stale_for
        self.store.put(key, kept, None, kept.value.size, until)
        return True  # one that is too large takes away what was there, too

    def drop(self, key: Any) -> None:
        """Keep it no longer."""
        self.store.drop([key])

    def clear(self) -> None:
        """Keep nothing."""
        self.store.clear()

    async def aget(self, key: Any) -> Kept[Any] | None:
        """Do as `get`."""
        return self.get(key)

    async def aput(self, key: Any, kept: Kept[Any]) -> bool:
        """Do as `put`."""
        return self.put(key, kept)

    async def adrop(self, key: Any) -> None:
        """Do as `drop`."""
        self.drop(key)


shelf: Final = Shelf()
"""Of this process."""

# What was not dropped while nobody looked is not served afterwards.
on_change("endpoints", shelf.clear)
