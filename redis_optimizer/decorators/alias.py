"""The values of functions, kept in a cache of the site, whichever backend it has."""

import logging
import math
import time
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from asgiref.sync import sync_to_async
from django.core.cache import caches
from django_redis.cache import RedisCache

from redis_optimizer.core.kept import Kept
from redis_optimizer.core.limits import pass_time_limit
from redis_optimizer.core.values import freeze, thaw
from redis_optimizer.internals import has_own_keys

__all__ = ["AliasPlace", "Box", "Key"]

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
        except Exception as error:
            pass_time_limit(error)
            return False
        self._copy = kept, load
        return True

    def copy(self) -> Any:
        """Return a copy, once it is sealed."""
        return thaw(*self._copy)


class Key(NamedTuple):
    """A key, for one who asks.

    Args:
        name: What the cache is asked for.
        final: What the cache makes of it, where that is up to the site, and so perhaps to who asks,
            such as a tenant: then two of them are not to share what one loads. Else None.
    """

    name: str
    final: str | None = None


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

    def key(self, name: str) -> Key:
        """Return a key for the caller."""
        try:
            cache = caches[self.alias]
            return Key(name, cache.make_key(name) if has_own_keys(cache) else None)
        except Exception:  # nor will it be read then, which is logged
            return Key(name)

    async def akey(self, name: str) -> Key:
        """Do as `key`, in the thread that Django keeps for what a site's own code may go by."""
        try:
            if not has_own_keys(caches[self.alias]):
                return Key(name)
        except Exception:
            return Key(name)
        return await sync_to_async(self.key)(name)

    def get(self, key: Key) -> Kept[Box] | None:
        """Return what is kept under a key."""
        try:
            return _opened(caches[self.alias].get(key.name))
        except Exception as error:
            pass_time_limit(error)
            self._log("read")
            return None

    def put(self, key: Key, kept: Kept[Box]) -> bool:
        """Keep a value; return whether it is there now."""
        try:
            cache: Any = caches[self.alias]
            done = cache.set(key.name, _closed(kept), _timeout(kept))
        except Exception as error:
            pass_time_limit(error)
            self._log("written")
            return False
        return _is_done(cache, done)

    def drop(self, key: Key) -> None:
        """Keep it no longer."""
        caches[self.alias].delete(key.name)

    async def aget(self, key: Key) -> Kept[Box] | None:
        """Do as `get`."""
        try:
            return _opened(await caches[self.alias].aget(key.name))
        except Exception as error:
            pass_time_limit(error)
            self._log("read")
            return None

    async def aput(self, key: Key, kept: Kept[Box]) -> bool:
        """Do as `put`."""
        try:
            cache: Any = caches[self.alias]
            done = await cache.aset(key.name, _closed(kept), _timeout(kept))
        except Exception as error:
            pass_time_limit(error)
            self._log("written")
            return False
        return _is_done(cache, done)

    async def adrop(self, key: Key) -> None:
        """Do as `drop`."""
        await caches[self.alias].adelete(key.name)

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


def _is_done(cache: Any, said: Any) -> bool:
    # django-redis says nothing where IGNORE_EXCEPTIONS hides an error, others never say anything.
    return said is not None or not isinstance(cache, RedisCache)


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
