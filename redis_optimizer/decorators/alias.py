"""The values of functions, kept in a cache of the site, whichever backend it has."""

import logging
import math
import time
from collections.abc import Callable
from typing import Any, Final

from django.core.cache import caches

from redis_optimizer.core.kept import Kept
from redis_optimizer.core.values import freeze, thaw

__all__ = ["AliasPlace", "Box"]

MARK: Final = "redis_optimizer:cached:1"
"""Begins each stored value: what else there is under a key, or of another version, is a miss."""

QUIET: Final = 60.0
"""Seconds between two log entries about one cache that does not answer."""

logger: Final = logging.getLogger("redis_optimizer.decorators")


class Box:
    """A value; it is the caller's own, until others want it as well."""

    __slots__ = ("_copy", "value")

    def __init__(self, value: Any) -> None:
        self.value = value
        self._copy: Any = None

    def seal(self) -> bool:
        """Prepare copies for others, before the value is handed to anybody who may change it.

        Returns:
            False where it cannot be copied.
        """
        try:
            kept, load, _ = freeze(self.value)
        except Exception:
            return False
        self._copy = kept, load
        return True

    def copy(self) -> Any:
        """Return a copy, once it is sealed."""
        return thaw(*self._copy)


class AliasPlace:
    """A cache of the site as a place for values.

    One that does not answer, or holds what cannot be read, is a cache without that value; this is
    logged now and then. The time in the stored values is that of the wall: processes share them.

    Args:
        alias: Of the cache, in ``CACHES``.
    """

    def __init__(self, alias: str) -> None:
        self.alias = alias
        self.now: Callable[[], float] = time.time
        self._quiet_until = -math.inf

    def get(self, key: str) -> Kept[Box] | None:
        """Return what is kept under a key."""
        try:
            return _opened(caches[self.alias].get(key))
        except Exception:
            self._log("read")
            return None

    def put(self, key: str, kept: Kept[Box]) -> None:
        """Keep a value."""
        try:
            caches[self.alias].set(key, _closed(kept), _timeout(kept))
        except Exception:
            self._log("written")

    def drop(self, key: str) -> None:
        """Keep it no longer."""
        caches[self.alias].delete(key)

    async def aget(self, key: str) -> Kept[Box] | None:
        """Do as `get`."""
        try:
            return _opened(await caches[self.alias].aget(key))
        except Exception:
            self._log("read")
            return None

    async def aput(self, key: str, kept: Kept[Box]) -> None:
        """Do as `put`."""
        try:
            await caches[self.alias].aset(key, _closed(kept), _timeout(kept))
        except Exception:
            self._log("written")

    async def adrop(self, key: str) -> None:
        """Do as `drop`."""
        await caches[self.alias].adelete(key)

    def _log(self, what: str) -> None:
        now = time.monotonic()
        if now >= self._quiet_until:
            self._quiet_until = now + QUIET
            logger.warning(
                "A value could not be %s: cache %r. Functions run instead.",
                what,
                self.alias,
                exc_info=True,
            )


def _closed(kept: Kept[Box]) -> tuple[Any, ...]:
    return (MARK, kept.value.value, kept.made_at, kept.fresh_for)


def _opened(stored: Any) -> Kept[Box] | None:
    # A serializer such as JSON's makes a list of a tuple.
    if not isinstance(stored, tuple | list) or len(stored) != 4 or stored[0] != MARK:
        return None
    _, value, made_at, fresh_for = stored
    return Kept(Box(value), made_at, fresh_for)


def _timeout(kept: Kept[Box]) -> int:
    return math.ceil(kept.fresh_for + kept.stale_for)
