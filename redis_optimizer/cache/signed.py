"""``OPTIONS["SIGNED"]``: django-redis's client, which takes for a value only what the site signed.

Integers are not signed: Redis itself counts with them, and they can execute nothing.
"""

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from django.core.cache.backends.base import DEFAULT_TIMEOUT
from django.core.exceptions import ImproperlyConfigured
from django_redis.client.default import DefaultClient
from django_redis.exceptions import ConnectionInterrupted
from redis.exceptions import RedisError

from redis_optimizer.cache.cluster import ClusterClient
from redis_optimizer.cache.signing import seal, unseal
from redis_optimizer.conf import show

__all__ = ["Keyed", "is_signed", "signed"]

FOREIGN: Final = object()
"""Stands for what nobody of this site has signed."""

KEPT: Final = ("add", "decode", "encode", "get", "get_many", "incr", "set", "set_many")
"""What a client class must leave as it is in DefaultClient, or in ClusterClient."""

READS_MEMBERS: Final = (
    "sdiff",
    "sinter",
    "smembers",
    "spop",
    "srandmember",
    "sscan",
    "sscan_iter",
    "sunion",
    "zpopmax",
    "zpopmin",
    "zrange",
    "zrangebyscore",
    "zrevrange",
    "zrevrangebyscore",
)
"""Methods that decode members of sets and sorted sets."""

# What nobody has signed gives way, unless it has changed since it was read.
_REPLACE: Final = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if ARGV[3] == '' then redis.call('SET', KEYS[1], ARGV[2])
else redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) end
return 1
"""


def is_signed(options: Mapping[str, Any], client: type) -> bool:
    """Tell whether the values of a cache are signed.

    Args:
        options: Its OPTIONS.
        client: Its CLIENT_CLASS.

    Raises:
        ImproperlyConfigured: SIGNED is neither True nor False, the class cannot sign, or the site
            has no SECRET_KEY.
    """
    asked = options.get("SIGNED", False)
    if asked is not True and asked is not False:
        raise ImproperlyConfigured(f'OPTIONS["SIGNED"] must be True or False, not {show(asked)}.')
    if not asked:
        return False
    for name in KEPT:
        known = [getattr(kind, name) for kind in (DefaultClient, ClusterClient)]
        if getattr(client, name, None) not in known:
            raise ImproperlyConfigured(
                f'OPTIONS["SIGNED"] cannot be used with {client.__name__}, whose {name}() is its '
                "own: take django-redis's DefaultClient or SentinelClient, or ClusterClient, for "
                "CLIENT_CLASS, or leave SIGNED out."
            )
    seal(b"", None)  # which wants a SECRET_KEY
    return True


@functools.cache
def signed(client: Any) -> Any:
    """Return a client class that does as this one, and signs."""
    return type(f"Signed{client.__name__}", (_SignedClient, client), {})


class Keyed(NamedTuple):
    """A value on its way to ``encode``, and the final key that it is for."""

    final: str
    value: Any


class _Stored(bytes):
    """What Redis holds, and the final key that it is of; None for a member of one."""

    final: str | None


class _Reading:
    """Stands in for the Redis client in one read, and says of each reply which key it is of."""

    def __init__(self, redis: Any) -> None:
        self._redis = redis

    def get(self, key: str) -> Any:
        return _stored(key, self._redis.get(key))

    def mget(self, *keys: str) -> list[Any]:
        return list(map(_stored, keys, self._redis.mget(*keys)))


class _SignedClient:
    """What makes a django-redis client sign."""

    get_client: Any
    make_key: Any
    _backend: Any

    def encode(self, value: Any, **kwargs: Any) -> Any:
        parent: Any = super()
        final, value = value if type(value) is Keyed else (None, value)
        data = parent.encode(value, **kwargs)
        return _stored(final, seal(data, final)) if isinstance(data, bytes) else data

    def decode(self, value: Any) -> Any:
        parent: Any = super()
        if _is_integer(value):
            return int(value)
        data = _unseal(value)
        if data is None:
            self._backend.refusals.note()
            return FOREIGN
        return parent.decode(data)

    def get(
        self, key: Any, default: Any = None, version: int | None = None, client: Any = None
    ) -> Any:
        parent: Any = super()
        reading = _Reading(self.get_client(write=False) if client is None else client)
        value = parent.get(key, default, version, reading)
        return default if value is FOREIGN else value

    def get_many(self, keys: Any, version: int | None = None, client: Any = None) -> dict[Any, Any]:
        parent: Any = super()
        reading = _Reading(self.get_client(write=False) if client is None else client)
        found = parent.get_many(keys, version, reading)
        return {key: value for key, value in found.items() if value is not FOREIGN}

    def set(
        self,
        key: Any,
        value: Any,
        timeout: float | None = DEFAULT_TIMEOUT,
        version: int | None = None,
        client: Any = None,
        nx: bool = False,
        xx: bool = False,
    ) -> bool:
        parent: Any = super()
        keyed = Keyed(self.make_key(key, version=version), value)
        return bool(parent.set(key, keyed, timeout, version, client, nx=nx, xx=xx))

    def add(
        self,
        key: Any,
        value: Any,
        timeout: float | None = DEFAULT_TIMEOUT,
        version: int | None = None,
        client: Any = None,
    ) -> bool:
        parent: Any = super()
        if parent.add(key, value, timeout, version, client):
            return True
        # What is there may count as none: it would keep a loader's value out for as long as it
        # lasts.
        redis = self.get_client(write=True) if client is None else client
        if timeout is DEFAULT_TIMEOUT:
            timeout = self._backend.default_timeout
        lifetime = None if timeout is None else int(timeout * 1000)
        final = self.make_key(key, version=version)
        try:
            raw = redis.get(final)
            is_value = raw is None or _is_integer(raw) or _unseal(_stored(final, raw)) is not None
            if is_value or (lifetime is not None and lifetime <= 0):
                return False
            data = self.encode(Keyed(final, value))
            return bool(redis.eval(_REPLACE, 1, final, raw, data, lifetime or ""))
        except (RedisError, OSError) as error:
            if "WRONGTYPE" in str(error):  # it is a list or the like
                return False
            raise ConnectionInterrupted(connection=redis) from error

    def incr(self, key: Any, *args: Any, **kwargs: Any) -> int:
        parent: Any = super()
        return self._count(parent.incr, key, *args, **kwargs)

    def decr(self, key: Any, *args: Any, **kwargs: Any) -> int:
        parent: Any = super()
        return self._count(parent.decr, key, *args, **kwargs)

    def _count(
        self,
        count: Callable[..., int],
        key: Any,
        delta: int = 1,
        version: int | None = None,
        client: Any = None,
        **kwargs: Any,
    ) -> int:
        try:
            return count(key, delta, version, client, **kwargs)
        except TypeError:  # what Redis cannot count with, django-redis reads
            if self.get(key, FOREIGN, version, client) is FOREIGN:
                raise ValueError(f"Key {key!r} not found") from None
            raise


def _members(name: str) -> Callable[..., Any]:
    """Make a reader of members, which leaves out those that nobody of this site has signed."""
    takes_match = "match" in inspect.signature(getattr(DefaultClient, name)).parameters

    def read(self: Any, *args: Any, **kwargs: Any) -> Any:
        if takes_match and (kwargs.get("match") or any(args[1:2])):
            raise ValueError("Using match with SIGNED is not supported.")
        return _without_foreign(getattr(super(_SignedClient, self), name)(*args, **kwargs))

    return read


for _name in READS_MEMBERS:
    setattr(_SignedClient, _name, _members(_name))


def _without_foreign(found: Any) -> Any:
    if isinstance(found, list):
        return [item for item in found if not _holds_foreign(item)]
    if isinstance(found, set):
        return found - {FOREIGN}
    if isinstance(found, Iterator):
        return (item for item in found if item is not FOREIGN)
    return None if _holds_foreign(found) else found


def _holds_foreign(item: Any) -> bool:
    with_score = type(item) is tuple and len(item) == 2
    return (item[0] if with_score else item) is FOREIGN


def _stored(final: str | None, raw: Any) -> Any:
    if not isinstance(raw, bytes):
        return raw
    stored = _Stored(raw)
    stored.final = final
    return stored


def _is_integer(raw: Any) -> bool:
    try:
        int(raw)
    except (ValueError, TypeError):
        return False
    return True


def _unseal(raw: Any) -> bytes | None:
    return unseal(raw, getattr(raw, "final", None)) if isinstance(raw, bytes) else None
