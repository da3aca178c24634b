"""Check that nothing logs people out, or in again, where sessions are in a cache."""

from importlib import import_module
from typing import Any

from django.conf import settings
from django.contrib.sessions.backends.cache import SessionStore as CacheStore
from django.core.cache import caches
from django.core.checks import CheckMessage, Tags, Warning, register
from django_redis.cache import RedisCache
from django_redis.client import HerdClient

from redis_optimizer.cache.cluster import ClusterClient
from redis_optimizer.cache.tiered import TieredCache
from redis_optimizer.checks.caches import check_settings
from redis_optimizer.conf import cache_settings
from redis_optimizer.connections import database_of
from redis_optimizer.contrib.sessions import SessionStore
from redis_optimizer.internals import client_class

__all__ = ["check_sessions"]


@register(Tags.caches)
def check_sessions(**kwargs: Any) -> list[CheckMessage]:
    """Check the alias that holds the sessions, where they are nowhere else."""
    if check_settings():  # said once; no cache can be made before it is mended
        return []
    store = _store()
    alias = getattr(settings, "SESSION_CACHE_ALIAS", "default")
    if store is None or not issubclass(store, CacheStore):
        return []
    backend = _backend(alias)
    is_ours = issubclass(store, SessionStore)
    if is_ours and backend is not None and not _can_look(backend):
        return [
            Warning(
                f'CACHES["{alias}"] holds sessions, and its backend cannot tell, as it writes one, '
                "whether that is still there: who has logged out may be logged in again.",
                hint="Set its BACKEND to "
                '"redis_optimizer.cache.TieredCache" or "django_redis.cache.RedisCache", without '
                "HerdClient.",
                id="redis_optimizer.W006",
            )
        ]
    if is_ours or isinstance(backend, TieredCache):
        return _check_clearing(alias, backend)
    return []


def _check_clearing(alias: str, backend: Any) -> list[CheckMessage]:
    databases = _databases(backend)
    others = [
        other
        for other in cache_settings()
        if other != alias and not databases.isdisjoint(_databases(_backend(other)))
    ]
    if others:
        names = ", ".join(f'CACHES["{other}"]' for other in others)
        what = f"clear() of {names}, which is in the same database, logs everybody out: it empties "
        what += "the database, whatever KEY_PREFIX says."
    elif alias == "default":
        what = "cache.clear() logs everybody out: the alias is the site's own cache."
    else:
        return []
    return [
        Warning(
            f'CACHES["{alias}"] holds sessions, and {what}',
            hint="Give sessions an alias of their own, which SESSION_CACHE_ALIAS names, in another "
            "database of the server, such as redis://host:6379/2. A cluster has but one: take "
            "another server.",
            id="redis_optimizer.W005",
        )
    ]


def _store() -> type | None:
    try:
        return getattr(import_module(settings.SESSION_ENGINE), "SessionStore", None)
    except ImportError:
        return None  # Django says so itself


def _backend(alias: str) -> Any:
    try:
        return caches.create_connection(alias)
    except Exception:
        return None  # said elsewhere: E002, or by Django


def _can_look(backend: Any) -> bool:
    # HerdClient takes xx, and does not send it.
    return isinstance(backend, RedisCache) and not issubclass(client_class(backend), HerdClient)


def _databases(backend: Any) -> set[tuple[object, ...]]:
    """Return what clear() of a cache empties, where that is known without asking a server."""
    if not isinstance(backend, RedisCache):
        return set()
    if isinstance(backend.client, ClusterClient):  # it would ask a node which others there are
        return {("cluster", node) for node in backend.client.cluster.start_nodes}
    try:
        made: Any = backend.client.connect()  # which connects nothing yet
        clients = made.values() if isinstance(made, dict) else [made]
        return {database_of(client.connection_pool) for client in clients}
    except Exception:  # a bad URL, a client of the site's own
        return set()
