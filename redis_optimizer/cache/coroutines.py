"""The coroutines of TieredCache that can be answered in the process.

A hit stays on the event loop. What goes to Redis does so from a thread of its own, not the one that
Django keeps for code that is sensitive to threads: a connection pool is not. But how a site makes
its keys may be, such as by the schema of a database connection. With a way of its own, all is done
in that thread, as Django does it.
"""

import inspect
from collections.abc import Iterable
from typing import Any

from asgiref.sync import sync_to_async
from django.core.cache.backends.base import DEFAULT_TIMEOUT

from redis_optimizer.core.store import MISSING, UNSURE
from redis_optimizer.core.values import thaw

__all__ = ["Coroutines"]


class Coroutines:
    """What TieredCache adds to Django's asynchronous cache API; ``self`` is a TieredCache."""

    async def aget(self: Any, key: Any, default: Any = None, version: int | None = None) -> Any:
        """See :meth:`get`."""
        if self._has_own_keys:
            return await sync_to_async(self.get)(key, default, version)
        final = self._final(key, version)
        entry = self._store.find(final)
        if entry is None:
            return await _in_thread(self._read)(key, final, default, version)
        return default if entry.load is MISSING else thaw(entry.value, entry.load)

    async def aget_many(
        self: Any, keys: Iterable[Any], version: int | None = None
    ) -> dict[Any, Any]:
        """See :meth:`get_many`."""
        keys = list(keys)
        if self._has_own_keys:
            return dict(await sync_to_async(self.get_many)(keys, version))
        found, absent = self._look_many(keys, version)
        if absent:
            found |= await _in_thread(self._read_many)(absent, version)
        return {key: found[key] for key in keys if key in found}

    async def ahas_key(self: Any, key: Any, version: int | None = None) -> bool:
        """See :meth:`has_key`."""
        if self._has_own_keys:
            return bool(await sync_to_async(self.has_key)(key, version))
        entry = self._store.find(self._final(key, version))
        if entry is not None and entry.value is not UNSURE:
            return bool(entry.load is not MISSING)
        if entry is not None:
            self.tier.extra_hits += 1  # it is found once more
        return bool(await _in_thread(self.has_key)(key, version))

    async def aget_or_set(
        self: Any,
        key: Any,
        default: Any,
        timeout: float | None = DEFAULT_TIMEOUT,
        version: int | None = None,
    ) -> Any:
        """See :meth:`get_or_set`. ``default`` may also be a coroutine function."""
        loading = None if self._has_own_keys else self._loading(key, default, timeout, version)
        if loading is None:
            found = await self.aget(key, MISSING, version)
            if found is MISSING:
                found = default() if callable(default) else default
                found = await found if inspect.isawaitable(found) else found
                await self.aadd(key, found, timeout, version)
                found = await self.aget(key, found, version)
            return found
        entry = self._store.find(loading.final)
        if entry is not None and entry.load is not MISSING:
            return thaw(entry.value, entry.load)
        return await loading.arun()


_in_thread = sync_to_async(thread_sensitive=False)
