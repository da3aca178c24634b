"""Emptying a cache in Redis."""

from collections.abc import Callable

from django.core.cache import caches
from django.utils.translation import gettext as _
from django_redis.cache import RedisCache
from redis.exceptions import RedisError

from redis_optimizer.admin.done import Done, Refused, told
from redis_optimizer.admin.servers import address
from redis_optimizer.cache.emptying import empty
from redis_optimizer.health.checks.redis import aliases_of
from redis_optimizer.stats import orders
from redis_optimizer.stats.gathered import Process

__all__ = ["clear_cache", "clearable"]


def clearable() -> dict[str, str]:
    """Return the aliases of the caches in Redis, and where each is, without a password."""
    return {alias: _where(alias) for alias, _settings in aliases_of(RedisCache)}


def clear_cache(alias: str, describe: Callable[[Process], str]) -> Done:
    """Empty a cache, and let all processes forget what they keep.

    Args:
        alias: Of the cache.
        describe: Says what one process forgot.

    Raises:
        Refused: the cache could not be cleared.
    """
    try:
        empty(alias)
    except Exception as error:  # every client class has errors of its own
        raise Refused(
            _("The cache “%(alias)s” could not be cleared: %(error)s")
            % {"alias": alias, "error": error}
        ) from error
    title = _("The cache “%(alias)s” was cleared") % {"alias": alias}
    try:
        return told(title, orders.clear(), describe)
    except LookupError:  # no process keeps anything that it would be told of
        return Done(title)
    except (RedisError, OSError) as error:
        return Done(title, warnings=[_("Processes were not told: %(error)s") % {"error": error}])


def _where(alias: str) -> str:
    try:
        client = caches[alias].client.get_client(write=True)  # type: ignore[attr-defined]
        return address(client.connection_pool)
    except Exception:  # a client class of the site's own, or options that make no sense
        return _("a server")
