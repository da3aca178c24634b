"""The servers through which the processes of this site hear each other: those of cached reads."""

import logging
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from django.core.cache import caches
from django.utils.module_loading import import_string
from redis.connection import ConnectionPool
from redis.exceptions import ConnectionError as RedisConnectionError

from redis_optimizer.conf import cache_settings
from redis_optimizer.connections import server_of

__all__ = ["all_pools", "open_channels", "pools"]

logger = logging.getLogger("redis_optimizer.stats")


class Tier(Protocol):
    """What a cache alias has that keeps what it reads in process."""

    @property
    def is_told(self) -> bool:
        """True where a channel tells it of writes."""

    def start(self) -> None:
        """Open the channel, without waiting."""

    def pool(self) -> ConnectionPool:
        """Return the pool that the data goes through; of a cluster, that to one node."""

    def pools(self) -> list[ConnectionPool]:
        """Return the pool to each server that values are read from."""


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
    """Return a pool for each server, or cluster, by which this site's processes hear each other.

    Raises:
        redis.exceptions.ConnectionError: when there are only clusters, and none can be reached.
    """
    return _each(lambda tier: [tier.pool()])


def all_pools() -> list[ConnectionPool]:
    """Return a pool for each server that this site's processes have channels to.

    Raises:
        redis.exceptions.ConnectionError: as with `pools`.
    """
    return _each(lambda tier: tier.pools())


def _each(pools_of: Callable[[Tier], list[ConnectionPool]]) -> list[ConnectionPool]:
    found: dict[tuple[object, ...], ConnectionPool] = {}
    errors: list[RedisConnectionError] = []
    for tier in _tiers():
        try:
            for pool in pools_of(tier):
                found.setdefault(server_of(pool), pool)
        except RedisConnectionError as error:  # a cluster that does not tell which nodes it has
            errors.append(error)
    if errors and not found:
        raise errors[0]
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
