"""Where the settings say that the site has something on Redis."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from django.core.cache import caches
from django.core.cache.backends.redis import RedisCache as DjangoRedisCache
from django.utils.module_loading import import_string
from django_redis.cache import RedisCache
from redis.connection import ConnectionPool

from redis_optimizer.cache.cluster import is_clustered
from redis_optimizer.conf import cache_settings
from redis_optimizer.connections import handshake_of, timeout_of
from redis_optimizer.doctor.evidence import Use, explain

__all__ = ["Place", "find_places", "loaded_app"]

TIMEOUT: Final = 2.0
"""Seconds that a server may take to connect, and for an answer."""

NO_POOL_OPTIONS: Final = frozenset({"parser_class", "pool_class", "serializer"})
"""Of the OPTIONS of Django's RedisCache, those that it does not hand to redis-py."""


@dataclass(frozen=True)
class Place:
    """A database of a server, and what of the site is there.

    Args:
        use: What is there.
        pool: How to connect to it.
        commands: What it cost to learn that.
    """

    use: Use
    pool: ConnectionPool
    commands: int = 0


def find_places(unknown: list[str]) -> list[Place]:
    """Return what the settings name: the caches on Redis, Celery's broker and its results.

    Args:
        unknown: What cannot be looked at is added to it.
    """
    return [*_caches(unknown), *_jobs(unknown)]


def loaded_app() -> Any:
    """Return the Celery app; None where the site has loaded no Celery."""
    if "celery" not in sys.modules:
        return None
    from celery.app import app_or_default

    return app_or_default()


def _caches(unknown: list[str]) -> Iterator[Place]:
    for alias, settings in cache_settings().items():
        name = f'CACHES["{alias}"]'
        try:
            for pool in _pools(alias, settings):
                yield Place(_use("cache", name, pool, alias), pool)
        except Exception as error:  # a bad URL, a client of the site's own: whatever it is
            unknown.append(f"{name}: {explain(error)}")


def _pools(alias: str, settings: dict[str, Any]) -> Iterator[ConnectionPool]:
    try:
        backend = import_string(settings.get("BACKEND", ""))
    except ImportError:
        return  # Django says so itself
    if not isinstance(backend, type):
        return
    if is_clustered(settings):
        raise LookupError("the nodes of a cluster are not looked at")
    if issubclass(backend, RedisCache):
        cache: Any = caches[alias]
        client = cache.client.connect()  # which connects nothing yet: it finds or makes the pool
        for each in client.values() if isinstance(client, dict) else [client]:
            yield each.connection_pool
    elif issubclass(backend, DjangoRedisCache):
        location = settings.get("LOCATION", "")
        urls = location.replace(",", ";").split(";") if isinstance(location, str) else location
        options = settings.get("OPTIONS") or {}
        given = {name: value for name, value in options.items() if name not in NO_POOL_OPTIONS}
        yield ConnectionPool.from_url(urls[0], **given)  # the first is the one that is written to


def _jobs(unknown: list[str]) -> Iterator[Place]:
    app = loaded_app()
    if app is None:
        return
    from celery.backends.redis import RedisBackend

    from redis_optimizer.tasks.asking import asking, is_redis

    try:
        if is_redis(app):
            with asking(app, TIMEOUT) as lists:
                pool = lists.client.connection_pool
            # kombu tells how to connect once it is connected, and has been answered a PING.
            yield Place(_use("broker", "broker_url", pool), pool, handshake_of(pool) + 1)
    except Exception as error:
        unknown.append(f"broker_url: {explain(error)}")
    try:
        if isinstance(app.backend, RedisBackend):
            pool = app.backend.client.connection_pool
            yield Place(_use("results", "result_backend", pool), pool)
    except Exception as error:
        unknown.append(f"result_backend: {explain(error)}")


def _use(kind: Any, name: str, pool: ConnectionPool, alias: str = "") -> Use:
    return Use(
        kind=kind,
        name=name,
        database=int(pool.connection_kwargs.get("db") or 0),
        alias=alias,
        timeout=timeout_of(pool),
    )
