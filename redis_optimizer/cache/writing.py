"""CoherentCache: django-redis's backend, whose writers let go of what the process keeps."""

import contextlib
import functools
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any, ClassVar, Final

from django.core.cache.backends.base import DEFAULT_TIMEOUT, BaseCache
from django_redis.cache import omit_exception
from django_redis.client.default import DefaultClient
from django_redis.exceptions import ConnectionInterrupted
from django_redis.util import CacheKey
from redis.exceptions import RedisError

from redis_optimizer.cache.cluster import ClusterClient, refuse_options
from redis_optimizer.cache.coherent import coherent
from redis_optimizer.cache.guarded import GuardedClient
from redis_optimizer.cache.measured import Remote, counted, timed_for
from redis_optimizer.cache.registry import get_refusals, get_tier, tiers
from redis_optimizer.cache.signed import is_signed, signed
from redis_optimizer.cache.tier import Tier
from redis_optimizer.conf import get_settings
from redis_optimizer.core.store import MISSING, Entry, LocalStore
from redis_optimizer.internals import client_class, has_own_keys, is_warned_of, set_client

__all__ = ["LONG", "MEDIUM", "SHORT", "CoherentCache", "can_have_tier"]

SHORT: Final = 60
MEDIUM: Final = 300
LONG: Final = 1800

# The store of a cache without a tier: never opened, so always empty.
_CLOSED: Final = LocalStore(max_entries=1)

# Attributes of Django's BaseCache that decide on the final key.
_MAKES_KEYS: Final = frozenset({"key_func", "key_prefix", "version"})


class _NoClass:
    """The class of no key."""


def can_have_tier(client_class: type) -> bool:
    """Say whether a django-redis client class reads and decodes as the default one does."""
    return all(
        getattr(client_class, name, None) is getattr(DefaultClient, name)
        for name in ("get", "get_many", "decode")
    )


@coherent
class CoherentCache(Remote):
    """The part of TieredCache that knows its tier, makes final keys, and writes.

    Writers whose keys their arguments name one by one come from :mod:`.methods`; the others are
    spelled out here. Each lets go of its keys after the reply, whatever that was.
    """

    _plain_key: Any
    """The class of keys whose final key is made by putting ``_prefix`` before them."""

    _plain_entries: Mapping[str, Entry]
    """What the process keeps, by such keys."""

    _validates_as_django: ClassVar[bool] = True
    """Whether what validates keys above this class is Django's: a site may derive from more."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._validates_as_django = super().validate_key is BaseCache.validate_key

    def __init__(self, server: Any, params: dict[str, Any]) -> None:
        super().__init__(server, params)
        client = client_class(self)
        self.signs = is_signed(params.get("OPTIONS", {}), client)
        self._tier = get_tier(server, params) if can_have_tier(client) else None
        if self.signs:
            self.refusals = get_refusals(server, params)
        make = functools.partial(signed(client) if self.signs else client, server, params, self)
        self._serves_stale = self._tier is not None and self._tier.options.STALE_IF_ERROR > 0
        is_cluster = issubclass(client, ClusterClient)
        if is_cluster and self._tier is not None:
            refuse_options(self._tier.options)
        # Nor has a cluster a breaker: it would be one for all its nodes.
        self.has_breaker = (
            self._tier is not None and get_settings().BREAKER_AFTER > 0 and not is_cluster
        )
        self._is_guarded = self._serves_stale or self.has_breaker
        if self._is_guarded:
            set_client(self, GuardedClient(make))
        elif self.signs:
            set_client(self, make())
        # What a hit needs, looked up once: Django makes one object for each thread.
        self._store = counted(self, self._tier.store if self._tier is not None else _CLOSED)
        self._entries = self._store.entries
        self._prefix = f"{self.key_prefix}:{self.version}:"
        if not has_own_keys(self) and client.make_key is DefaultClient.make_key:
            # Only then: a site's own prefixes may be as many as it has tenants.
            self._plain_entries = self._store.under(self._prefix)
            self._plain_key = str

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _MAKES_KEYS:  # somebody changes a live object, as tests do
            self._plain_key = _NoClass
        super().__setattr__(name, value)

    @property
    def tier(self) -> Tier:
        """The in-process tier.

        Raises:
            AttributeError: when it is switched off, or the client class cannot have one.
        """
        if self._tier is None:
            raise AttributeError("This cache has no in-process tier: it is switched off.")
        return self._tier

    def primary(self) -> Any:
        """Return the Redis client of the primary for what the cache itself sends."""
        client: Any = self.client
        return client.primary() if self._is_guarded else client.get_client(write=True)

    def set_many(
        self,
        data: Mapping[Any, Any],
        timeout: float | None = DEFAULT_TIMEOUT,
        version: int | None = None,
        client: Any = None,
    ) -> list[Any]:
        """Set all of ``data``.

        Returns:
            The keys that could not be set: none, or all when the connection failed and
            IGNORE_EXCEPTIONS is on.
        """
        data = dict(data)
        if not data:
            return []
        with self._writing(data, version):
            failed = self._set_many(data, timeout, version, client)
        return list(data) if failed is None else failed

    @omit_exception
    def _set_many(self, data: dict[Any, Any], *args: Any) -> list[Any]:
        timed_for(self, self.client.set_many, data, *args)
        return []

    def set_short(self, key: Any, value: Any, version: int | None = None) -> bool:
        """Set ``key`` for a minute: what changes all the time."""
        return self.set(key, value, SHORT, version)

    def set_medium(self, key: Any, value: Any, version: int | None = None) -> bool:
        """Set ``key`` for 5 minutes."""
        return self.set(key, value, MEDIUM, version)

    def set_long(self, key: Any, value: Any, version: int | None = None) -> bool:
        """Set ``key`` for half an hour: what hardly changes."""
        return self.set(key, value, LONG, version)

    def delete_many(  # type: ignore[override]  # django-redis counts, Django does not
        self, keys: Iterable[Any], version: int | None = None, client: Any = None
    ) -> int | None:
        """Delete ``keys``.

        Returns:
            How many of them existed; None when there are no keys at all, as Django has it.
        """
        keys = list(keys)
        if not keys:
            return None
        with self._writing(keys, version):
            return super().delete_many(keys, version=version, client=client)

    def incr_version(
        self, key: Any, delta: int = 1, version: int | None = None, client: Any = None
    ) -> int:
        """Move ``key`` to another version; it keeps its timeout.

        Returns:
            The new version.

        Raises:
            ValueError: when there is no such key.
        """
        old = self.version if version is None else version
        finals = (self._final(key, old), self._final(_plain(key), old + delta))
        try:
            if self._tier is None:
                return super().incr_version(key, delta, version, client)
            return self._incr_version(key, old, old + delta, client)
        finally:
            self._drop(finals)

    @omit_exception
    def _incr_version(self, key: Any, old: int, new: int, client: Any) -> int:
        # The commands of django-redis, which takes a stored None for a missing key.
        remote = self.client
        client = client or self.primary()
        value = timed_for(self, remote.get, key, MISSING, old, client)
        try:
            timeout = timed_for(self, remote.ttl, key, old, client)
        except (RedisError, OSError) as error:
            raise ConnectionInterrupted(connection=client) from error
        if value is MISSING:
            raise ValueError(f"Key {key!r} not found")
        timed_for(self, remote.set, _plain(key), value, timeout, new, client)
        timed_for(self, remote.delete, key, old, client=client)
        return new

    def lock(self, key: Any, *args: Any, **kwargs: Any) -> Any:
        """Return a lock in Redis. Its key is a key like any other: ``get`` must see it at once."""
        lock = super().lock(key, *args, **kwargs)
        final = (self._final(key, kwargs.get("version", args[0] if args else None)),)
        for step in ("do_acquire", "do_extend", "do_reacquire", "do_release"):
            setattr(lock, step, self._dropping(getattr(lock, step), final))
        return lock

    def validate_key(self, key: str) -> None:
        """Warn of a key that memcached would not take, as Django does."""
        if not self._validates_as_django or is_warned_of(key):
            super().validate_key(key)

    # Details

    @property
    def _has_own_keys(self) -> bool:
        """True where it is up to the site how final keys are made."""
        return self._plain_key is not str

    def _final(self, key: Any, version: int | None) -> str:
        if version is None and key.__class__ is self._plain_key:
            return self._prefix + key
        return self.client.make_key(key, version=version)

    @contextlib.contextmanager
    def _writing(self, keys: Iterable[Any], version: int | None) -> Iterator[None]:
        finals = [self._final(key, version) for key in keys]
        for final in finals:
            self.validate_key(final)
        try:
            yield
        finally:
            self._drop(finals)

    def _drop(self, finals: Collection[str]) -> None:
        for tier in self._any_tier():
            tier.drop(finals)

    def _drop_all(self) -> None:
        for tier in self._any_tier():
            tier.clear()

    def _any_tier(self) -> list[Tier]:
        # Each lets go of what all keep: another alias may have a tier on the same keys.
        return [self._tier] if self._tier is not None else tiers()[:1]

    def _dropping(self, step: Callable[..., Any], finals: tuple[str, ...]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            try:
                return timed_for(self, step, *args, **kwargs)
            finally:
                self._drop(finals)

        return call


def _plain(key: Any) -> Any:
    """Return the key that a ready-made final key was made of."""
    return key.original_key() if isinstance(key, CacheKey) else key
