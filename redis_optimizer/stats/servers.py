"""The servers through which the processes of this site hear each other: those of cached reads."""

import logging
from collections.abc import Iterator
from typing import Any, Protocol

from django.core.cache import caches
from django.utils.module_loading import import_string
from redis.connection import ConnectionPool

from redis_optimizer.conf import cache_settings
from redis_optimizer.connections import server_of

__all__ = ["open_channels", "pools"]

logger = logging.getLogger("redis_optimizer.stats")


class Tier(Protocol):
    """What a cache alias has that keeps what it reads in process."""

    @property
    def is_told(self) -> bool:
        """True where a channel tells it of writes."""

    def start(self) -> None:
        """Open the channel, without waiting."""

    def pool(self) -> ConnectionPool:
        """Return the pool that the data goes through."""


def open_channels() -> None:
    """Open this process's channels now, instead of after a number of reads. Returns at once.

    Where no alias has a tier, or the parts are switched off, it does nothing.
    """
    for tier in _tiers():
        try:
            tier.start()
        except Exception as error:  # no more threads, say: the cache works without
            logger.debug("A channel could not be opened: %r", error)


def pools() -> list[ConnectionPool]:
    """Return a pool for each server that this site's processes have channels to."""
    found: dict[tuple[object, ...], ConnectionPool] = {}
    for tier in _tiers():
        pool = tier.pool()
        found.setdefault(server_of(pool), pool)
    return list(found.values())


def _tiers() -> Iterator[Tier]:
    for alias, params in cache_settings().items():
        try:
            # Backends of others are left alone: to make one may have effects.
            if not hasattr(import_string(params["BACKEND"]), "tier"):
                continue
            tier: Any = getattr(caches[alias], "tier", None)
        except Exception as error:
            logger.debug("The cache %r cannot be used: %r", alias, error)
            continue
        if tier is not None and tier.is_told:
            yield tier
