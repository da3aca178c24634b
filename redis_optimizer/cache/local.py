"""LocalCache: a cache for one process, in place of Django's LocMemCache."""

from collections.abc import Mapping
from math import inf
from typing import Any, Final

from django.core.cache.backends.base import DEFAULT_TIMEOUT, BaseCache
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed

from redis_optimizer.core.store import Entry, LocalStore
from redis_optimizer.core.values import freeze, thaw

__all__ = ["LocalCache"]

BOUNDS: Final = {"MAX_ENTRIES": 10_000, "MAX_BYTES": 64 * 1024**2}
"""The options and their defaults."""

_stores: dict[str, LocalStore] = {}


class LocalCache(BaseCache):
    """Keep values in the memory of this process, as ``LocMemCache`` does.

    Where LocMemCache throws out a third of its entries when it is full, this one lets go of one at
    a time, of those that are read least (S3-FIFO), and bounds bytes as well as entries.

    Args:
        name: LOCATION; caches of one name share what they keep, and the bounds of the first.
        params: The rest of the cache's settings. OPTIONS: MAX_ENTRIES (10,000), MAX_BYTES (64 MiB;
            one value may take an eighth of it).
    """

    def __init__(self, name: str, params: dict[str, Any]) -> None:
        super().__init__(params)
        max_entries, max_bytes = _bounds(params.get("OPTIONS", {}))
        store = _stores.get(name)
        if store is None:
            store = LocalStore(max_entries, max_bytes)
            store.open()
            store = _stores.setdefault(name, store)  # two threads may come here at once
        self._store = store

    def add(
        self,
        key: Any,
        value: Any,
        timeout: Any = DEFAULT_TIMEOUT,
        version: int | None = None,
    ) -> bool:
        """Set ``key`` unless it exists.

        Returns:
            False when it exists, or when the value is too large to be kept.
        """
        final = self.make_and_validate_key(key, version)
        frozen = freeze(value)  # outside the lock: it may run code of the site's own
        with self._store.lock:
            if self._live(final) is not None:
                return False
            return self._store.put(final, *frozen, self._expiry(timeout))

    def get(self, key: Any, default: Any = None, version: int | None = None) -> Any:
        """Return the value of ``key``."""
        entry = self._store.find(self.make_and_validate_key(key, version))
        if entry is None:
            self._store.misses += 1
            return default
        return thaw(entry.value, entry.load)

    def set(
        self,
        key: Any,
        value: Any,
        timeout: Any = DEFAULT_TIMEOUT,
        version: int | None = None,
    ) -> None:
        """Set ``key``."""
        self._put(self.make_and_validate_key(key, version), value, timeout)

    def touch(self, key: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> bool:
        """Give ``key`` a new timeout."""
        final = self.make_and_validate_key(key, version)
        with self._store.lock:
            entry = self._live(final)
            if entry is None:
                return False
            entry.expires_at = self._expiry(timeout)
            return True

    def incr(self, key: Any, delta: int = 1, version: int | None = None) -> int:
        """Add ``delta`` to the value of ``key``, whose timeout stays."""
        final = self.make_and_validate_key(key, version)
        with self._store.lock:
            entry = self._live(final)
            if entry is None:
                raise ValueError(f"Key {key!r} not found")
            value: int = thaw(entry.value, entry.load) + delta
            self._store.put(final, *freeze(value), entry.expires_at)
            return value

    def has_key(self, key: Any, version: int | None = None) -> bool:
        """Say whether ``key`` exists."""
        return self._live(self.make_and_validate_key(key, version)) is not None

    def delete(self, key: Any, version: int | None = None) -> bool:
        """Delete ``key``."""
        final = self.make_and_validate_key(key, version)
        with self._store.lock:
            existed = self._live(final) is not None
            self._store.drop((final,))
            return existed

    def clear(self) -> None:
        """Delete everything."""
        self._store.clear()

    def _put(self, final: str, value: Any, timeout: Any) -> bool:
        return self._store.put(final, *freeze(value), self._expiry(timeout))

    def _expiry(self, timeout: Any) -> float:
        if timeout is DEFAULT_TIMEOUT:
            timeout = self.default_timeout
        return inf if timeout is None else self._store.now() + timeout

    def _live(self, final: str) -> Entry | None:
        store = self._store
        entry = store.entries.get(final)
        if entry is None or entry.epoch != store.epoch or entry.expires_at <= store.now():
            return None
        return entry


def _bounds(options: Mapping[str, Any]) -> tuple[int, int]:
    for name, value in options.items():
        if name == "CULL_FREQUENCY":  # LocMemCache's; nothing is culled here
            continue
        if name not in BOUNDS:
            raise ImproperlyConfigured(
                f"OPTIONS has no option {name!r}. The options are: {', '.join(BOUNDS)}."
            )
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ImproperlyConfigured(
                f'OPTIONS["{name}"] must be a whole number, 1 or more, not {value!r}.'
            )
    given = {**BOUNDS, **options}
    return given["MAX_ENTRIES"], given["MAX_BYTES"]


def _forget(*, setting: str, **kwargs: object) -> None:
    if setting == "CACHES":
        _stores.clear()


setting_changed.connect(_forget, dispatch_uid="redis_optimizer.cache.local")
