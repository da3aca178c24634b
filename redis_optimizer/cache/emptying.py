"""Emptying a cache of the site."""

from typing import Any

from django.core.cache import caches
from django_redis.cache import RedisCache

from redis_optimizer.internals import set_raising

__all__ = ["empty"]


def empty(alias: str) -> None:
    """Empty a cache, for all who use it.

    With ``IGNORE_EXCEPTIONS``, a cache in Redis says of an attempt that failed what it says of one
    that did not: here it raises.

    Args:
        alias: Of the cache.

    Raises:
        Exception: It could not be emptied; every backend has errors of its own.
    """
    if isinstance(caches[alias], RedisCache):
        own: Any = caches.create_connection(alias)  # nobody else uses it
        set_raising(own)
        own.clear()
    else:
        caches[alias].clear()
