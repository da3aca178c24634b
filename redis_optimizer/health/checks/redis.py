"""The Redis servers of the caches."""

import re
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Self

from django.core.cache import DEFAULT_CACHE_ALIAS, caches
from django.utils.module_loading import import_string
from django_redis.cache import RedisCache

from redis_optimizer.conf import cache_settings, get_settings
from redis_optimizer.health.base import Check
from redis_optimizer.health.checks.asking import ask

__all__ = ["Redis", "alias_name", "aliases_of"]

PROBE_LIFETIME: Final = 10_000  # milliseconds, should the DEL be lost


@dataclass(frozen=True, kw_only=True)
class Redis(Check):
    """The server of a cache answers a PING.

    It goes through the pool that the site's own commands go through, so that a pool with no
    connection to lend is seen, and past all that hides a failure: the in-process tier and
    ``DJANGO_REDIS_IGNORE_EXCEPTIONS``. Left to itself it looks for all caches on django-redis, and
    checks each ``LOCATION`` once.

    Args:
        alias: Of the cache. Several servers, as of a ``ShardClient`` or the primaries of a cluster,
            are checked one by one; of a primary and its replicas, the primary.
        write: Write, read and delete a key of its own, which a replica that may only be read, or
            a server without memory, refuses. In a cluster, that is the node of a key by chance.
    """

    component: ClassVar[str] = "datastore"

    ready: bool = True
    alias: str = DEFAULT_CACHE_ALIAS
    write: bool = False

    @classmethod
    def instances(cls, **options: Any) -> Iterable[Self]:
        """Return one check for each server, or that of the alias that is named."""
        if "alias" in options:
            return [cls(**options)]
        first: dict[str, str] = {}
        for alias, settings in aliases_of(RedisCache):
            first.setdefault(repr(settings.get("LOCATION")), alias)
        return [cls(alias=alias, **options) for alias in first.values()]

    @property
    def name(self) -> str:
        """``redis``, with the alias where that is not the default."""
        return alias_name("redis", self.alias)

    def run(self) -> None:
        """Ask the server.

        Raises:
            redis.exceptions.RedisError: when it does not answer as it should.
            ValueError: when what was written is not what is read.
        """
        backend: Any = caches[self.alias]
        timeout = get_settings().HEALTH_CHECK_TIMEOUT if self.timeout is None else self.timeout
        for client in _clients(backend):
            pool = getattr(client, "connection_pool", None)
            if not self.write:
                if pool is None:  # of a cluster, or a client class of the site's own
                    client.ping()
                else:
                    ask(pool, ("PING",), timeout=timeout)
                continue
            key, value = f"redis_optimizer:probe:{uuid.uuid4().hex}", uuid.uuid4().bytes
            final = str(backend.client.make_key(key))
            if pool is None:
                client.set(final, value, px=PROBE_LIFETIME)
                found = client.get(final)
                client.delete(final)
            else:
                set_key = ("SET", final, value, "PX", PROBE_LIFETIME)
                _, found, _ = ask(pool, set_key, ("GET", final), ("DEL", final), timeout=timeout)
            if found != value:
                raise ValueError("The server does not return what was written.")


def aliases_of(backend: type) -> list[tuple[str, Mapping[str, Any]]]:
    """Return the caches whose backend is of a class, the default one first: alias and settings."""
    found = [(alias, s) for alias, s in cache_settings().items() if _is_of(backend, s)]
    return sorted(found, key=lambda item: item[0] != DEFAULT_CACHE_ALIAS)


def alias_name(name: str, alias: str) -> str:
    """Return the name of the check of an alias."""
    if alias == DEFAULT_CACHE_ALIAS:
        return name
    return f"{name}-" + re.sub(r"[\s:]+", "-", alias)


def _is_of(backend: type, settings: Mapping[str, Any]) -> bool:
    try:
        given = import_string(settings.get("BACKEND", ""))
    except ImportError:
        return False  # Django says so itself
    return isinstance(given, type) and issubclass(given, backend)


def _clients(backend: Any) -> Iterator[Any]:
    found = backend.client.connect()  # which connects nothing yet: it finds or makes the pool
    yield from found.values() if isinstance(found, dict) else [found]
