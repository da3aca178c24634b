"""The OPTIONS of a django-redis cache."""

from collections.abc import Mapping
from typing import Any, Final

from django.core.exceptions import ImproperlyConfigured

from redis_optimizer.connections.addresses import is_sentinel, is_socket
from redis_optimizer.connections.sockets import (
    COMMAND_TIMEOUT,
    CONNECT_TIMEOUT,
    KEEPALIVE,
    keepalive_options,
)

__all__ = ["cache_options", "pool_options"]

POOL_OPTIONS: Final = (
    "CONNECTION_POOL_CLASS",
    "CONNECTION_POOL_KWARGS",
    "PARSER_CLASS",
    "PASSWORD",
    "SOCKET_CONNECT_TIMEOUT",
    "SOCKET_TIMEOUT",
    "USERNAME",
)

MAX_CONNECTIONS: Final = 5
"""A connection is lent for one command, about 0.1 ms: five serve many threads."""


def cache_options(
    url: str,
    *,
    max_connections: int = MAX_CONNECTIONS,
    timeout: float = COMMAND_TIMEOUT,
    connect_timeout: float = CONNECT_TIMEOUT,
    keepalive: int = KEEPALIVE,
) -> dict[str, Any]:
    """Return OPTIONS for a cache of django-redis or TieredCache.

    The threads of a process share a few connections, and wait for one rather than fail. They are
    made when they are needed. Nothing is retried: an ``incr`` that was sent twice would count
    twice.

    ::

        CACHES = {"default": {
            "BACKEND": "redis_optimizer.cache.TieredCache",
            "LOCATION": REDIS_URL,
            "OPTIONS": {**cache_options(REDIS_URL), "L1": {"MAX_ENTRIES": 10_000}},
        }}

    django-redis keeps one pool for each URL: aliases with one LOCATION share the options of the
    alias that connects first.

    Args:
        url: The cache's LOCATION.
        max_connections: How many connections a process may have.
        timeout: Seconds that a command may take, and that a thread waits for a connection.
        connect_timeout: Seconds that connecting may take.
        keepalive: Seconds of silence before TCP keepalive asks; 0: it does not.

    Returns:
        A new dict.

    Raises:
        ImproperlyConfigured: when `url` is not that of a Redis server or names Sentinels, for
            which django-redis has a pool of its own.
    """
    if is_sentinel(url):
        raise ImproperlyConfigured(
            "Under Sentinel django-redis needs a pool of its own: give SENTINELS and "
            '"CLIENT_CLASS": "django_redis.client.SentinelClient" instead of cache_options().'
        )
    return {
        "CONNECTION_POOL_CLASS": "redis.connection.BlockingConnectionPool",
        "CONNECTION_POOL_KWARGS": {
            "max_connections": max_connections,
            "timeout": timeout,
            **keepalive_options(0 if is_socket(url) else keepalive),
        },
        "SOCKET_TIMEOUT": timeout,
        "SOCKET_CONNECT_TIMEOUT": connect_timeout,
    }


def pool_options(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return those settings of a cache that its pool is made by.

    Args:
        settings: What ``CACHES`` says of an alias.
    """
    options = settings.get("OPTIONS") or {}
    return {name: options.get(name) for name in POOL_OPTIONS}
