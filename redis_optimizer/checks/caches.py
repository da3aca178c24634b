"""Check the settings of the caches, and `REDIS_OPTIMIZER`."""

import inspect
from collections.abc import Collection
from importlib import import_module
from typing import Any

from django.conf import settings as django_settings
from django.core.cache import caches
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string
from redis.connection import AbstractConnection, ConnectionPool

from redis_optimizer.cache.cluster import is_clustered
from redis_optimizer.cache.options import Options
from redis_optimizer.cache.tiered import TieredCache
from redis_optimizer.cache.writing import can_have_tier
from redis_optimizer.conf import cache_settings, get_settings
from redis_optimizer.connections import check_url, pool_options
from redis_optimizer.internals import client_class

__all__ = ["check_caches", "check_settings"]


SCHEMES = ("redis://", "rediss://")


@register(Tags.compatibility)
def check_settings(**kwargs: Any) -> list[CheckMessage]:
    """Check ``REDIS_OPTIMIZER`` and its environment variable."""
    try:
        get_settings()
    except ImproperlyConfigured as error:
        return [
            Error(
                str(error),
                hint='Correct it; the documentation lists every setting on the page "Settings".',
                id="redis_optimizer.E001",
            )
        ]
    return []


@register(Tags.caches)
def check_caches(**kwargs: Any) -> list[CheckMessage]:
    """Check every alias that uses TieredCache, and those that should."""
    if check_settings():  # said once; no cache can be made before it is mended
        return []
    messages: list[CheckMessage] = []
    aliases = {alias: s for alias, s in cache_settings().items() if _is_tiered(s)}
    for alias, settings in aliases.items():
        messages += _check_alias(alias, settings)
    return messages + _check_locations(aliases) + _check_unsigned(aliases)


def _is_tiered(settings: dict[str, Any]) -> bool:
    try:
        backend = import_string(settings.get("BACKEND", ""))
    except ImportError:
        return False  # Django says so itself
    return isinstance(backend, type) and issubclass(backend, TieredCache)


def _check_alias(alias: str, settings: dict[str, Any]) -> list[CheckMessage]:
    try:
        for url in _urls(settings):
            check_url(url)
        options = Options.from_params(settings)
        backend: Any = caches.create_connection(alias)
        sample = str(backend.client.make_key("key"))
    except Exception as error:  # a bad URL, a KEY_FUNCTION that fails: whatever it is, say whose
        return [
            Error(
                f'CACHES["{alias}"]: {error}',
                hint="Correct it, or set BACKEND back to "
                '"django_redis.cache.RedisCache" and leave OPTIONS["L1"] out.',
                id="redis_optimizer.E002",
            )
        ]
    messages: list[CheckMessage] = []
    if options.is_on and not can_have_tier(client_class(backend)):
        messages.append(
            Warning(
                f'CACHES["{alias}"] runs without the in-process tier: its CLIENT_CLASS reads or '
                "decodes in a way of its own.",
                hint="Use django-redis's DefaultClient or SentinelClient, or leave BACKEND at "
                '"django_redis.cache.RedisCache".',
                id="redis_optimizer.W001",
            )
        )
    if options.is_on and not sample.startswith(options.PREFIXES):
        messages.append(
            Warning(
                f'CACHES["{alias}"] makes keys such as {sample!r}, which begin with none of '
                f"{', '.join(map(repr, options.PREFIXES))}: nothing is kept in process.",
                hint='Name the beginnings of its keys in OPTIONS["L1"]["PREFIXES"].',
                id="redis_optimizer.W002",
            )
        )
    if options.is_on and options.STALE_IF_ERROR and _holds_sessions(alias, options):
        messages.append(
            Error(
                f'CACHES["{alias}"] holds sessions and has STALE_IF_ERROR: while Redis does not '
                "answer, who has logged out elsewhere would be logged in.",
                hint="Give sessions an alias of their own without it, which SESSION_CACHE_ALIAS "
                'names, or keep them out of the process: OPTIONS["L1"]["EXCLUDE"] = '
                '["django.contrib.sessions.*"].',
                id="redis_optimizer.E003",
            )
        )
    if options.is_on and get_settings().BREAKER_AFTER and is_clustered(settings):
        messages.append(
            Warning(
                f'CACHES["{alias}"] is in a cluster, for which BREAKER_AFTER does nothing.',
                hint='Set OPTIONS["SOCKET_TIMEOUT"] to a second or two instead, and add '
                '"redis_optimizer.W007" to SILENCED_SYSTEM_CHECKS.',
                id="redis_optimizer.W007",
            )
        )
    if backend.has_breaker and _may_hang(backend.primary()):
        messages.append(
            Warning(
                f'CACHES["{alias}"] has no SOCKET_TIMEOUT: a server that has frozen is never '
                "noticed, and BREAKER_AFTER does nothing about it.",
                hint='Set OPTIONS["SOCKET_TIMEOUT"] to a few seconds, or take all OPTIONS from '
                "redis_optimizer.connections.cache_options().",
                id="redis_optimizer.W004",
            )
        )
    return messages


def _urls(settings: dict[str, Any]) -> list[str]:
    """Return the URLs of a cache that are of redis-py's kind; a factory may have others."""
    location = settings.get("LOCATION") or ()
    urls = location.split(",") if isinstance(location, str) else location
    return [url for url in urls if isinstance(url, str) and url.startswith(SCHEMES)]


def _check_unsigned(tiered: Collection[str]) -> list[CheckMessage]:
    return [
        Warning(
            f'CACHES["{alias}"] does not sign its values: its BACKEND knows nothing of SIGNED.',
            hint='Set its BACKEND to "redis_optimizer.cache.TieredCache", or remove SIGNED.',
            id="redis_optimizer.W008",
        )
        for alias, settings in cache_settings().items()
        if alias not in tiered and (settings.get("OPTIONS") or {}).get("SIGNED")
    ]


def _holds_sessions(alias: str, options: Options) -> bool:
    """Say whether the tier of this alias may keep what a session engine of Django's stores."""
    if getattr(django_settings, "SESSION_CACHE_ALIAS", "default") != alias:
        return False
    try:
        engine = import_module(django_settings.SESSION_ENGINE)
    except ImportError:
        return False  # Django says so itself
    prefix = getattr(getattr(engine, "SessionStore", None), "cache_key_prefix", None)
    if prefix is None:
        return False  # it stores them elsewhere
    return options.exclude is None or options.exclude.match(f"{prefix}{'0' * 32}") is None


def _may_hang(redis: Any) -> bool:
    pool: ConnectionPool = redis.connection_pool
    default = inspect.signature(AbstractConnection.__init__).parameters["socket_timeout"].default
    return pool.connection_kwargs.get("socket_timeout", default) is None


def _check_locations(aliases: dict[str, dict[str, Any]]) -> list[CheckMessage]:
    """django-redis keeps one pool per URL: the first alias's connection options win."""
    first: dict[str, str] = {}
    messages: list[CheckMessage] = []
    for alias, settings in aliases.items():
        if is_clustered(settings):  # its pools are ours, and go by the options as well
            continue
        location = repr(settings.get("LOCATION"))
        other = first.setdefault(location, alias)
        if other != alias and pool_options(settings) != pool_options(aliases[other]):
            messages.append(
                Warning(
                    f'CACHES["{other}"] and CACHES["{alias}"] have one LOCATION but different '
                    "connection options; django-redis uses those of the one that connects first.",
                    hint="Give both the same options, or tell the URLs apart, for example by a "
                    "query string.",
                    id="redis_optimizer.W003",
                )
            )
    return messages
