"""A session engine for TieredCache: Django's cache engine, but a session that is gone stays gone.

``SESSION_ENGINE = "redis_optimizer.contrib.sessions"``. Sessions are stored as by Django's cache
engine, under the same keys, so a site can change from one to the other and back. What Django's
engines share among themselves has names that are private: a contract test holds those used here.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from asgiref.sync import sync_to_async
from django.contrib.sessions.backends.base import UpdateError
from django.contrib.sessions.backends.cache import SessionStore as CacheStore
from django_redis.cache import RedisCache
from redis.exceptions import RedisError

__all__ = ["SessionStore"]


class SessionStore(CacheStore):
    """Keep sessions in the cache that ``SESSION_CACHE_ALIAS`` names.

    Django's engine looks whether a session exists and then writes it, whatever happened in between.
    What a process knows may be as old as the cache's ``MAX_STALENESS``: a session that another
    process has ended meanwhile would live again. Here Redis looks, as it writes (``SET XX``).

    Args:
        session_key: Of the session to load; None for a new one.
    """

    _cache: Any
    _session_key: str | None
    _get_session: Callable[[], dict[str, Any]]
    _aget_session: Callable[[], Awaitable[dict[str, Any]]]

    def load(self) -> dict[str, Any]:
        """Return what the session holds; where there is none, forget its key.

        Raises:
            redis.exceptions.RedisError, OSError: when Redis does not answer. Django's engine takes
                that for a session that does not exist, and logs the visitor out.
        """
        try:
            data = self._cache.get(self.cache_key)
        except (RedisError, OSError):
            raise
        except Exception:  # another serializer wrote it, say
            data = None
        return self._loaded(data)

    async def aload(self) -> dict[str, Any]:
        """See :meth:`load`."""
        try:
            data = await self._cache.aget(await self.acache_key())
        except (RedisError, OSError):
            raise
        except Exception:
            data = None
        return self._loaded(data)

    def save(self, must_create: bool = False) -> None:
        """Write the session.

        Args:
            must_create: There must be none of this key yet.

        Raises:
            CreateError: when there is one that must not be.
            UpdateError: when there is none any more, because somebody has logged out, say. The
                middleware of Django answers 400 then.
            redis.exceptions.RedisError, OSError: when Redis does not answer.
        """
        if must_create or self.session_key is None or not self._can_replace:
            super().save(must_create)
            return
        key = self.cache_key
        self._replace(key, self._get_session(), self.get_expiry_age())

    async def asave(self, must_create: bool = False) -> None:
        """See :meth:`save`."""
        if must_create or self.session_key is None or not self._can_replace:
            await super().asave(must_create)
            return
        key = await self.acache_key()
        replace = sync_to_async(self._replace, thread_sensitive=False)
        await replace(key, await self._aget_session(), await self.aget_expiry_age())

    @property
    def _can_replace(self) -> bool:
        """False on a cache that knows no ``xx``, such as Django's own in a site's tests."""
        return isinstance(self._cache, RedisCache)

    def _replace(self, key: str, data: dict[str, Any], age: int) -> None:
        # Whoever saves what was never loaded has just loaded it: there may be nothing.
        if self.session_key is None:
            raise UpdateError
        # None: Redis did not answer, and the site ignores that (IGNORE_EXCEPTIONS).
        if self._cache.set(key, data, age, xx=True) is False:
            raise UpdateError

    def _loaded(self, data: dict[str, Any] | None) -> dict[str, Any]:
        if data is None:
            self._session_key = None
            return {}
        return data
