"""TieredCache: django-redis's backend, with what it reads kept in the process."""

from collections.abc import Callable, Collection, Iterable
from functools import partial
from time import monotonic
from typing import Any, ClassVar

from django.core.cache.backends.base import DEFAULT_TIMEOUT
from django_redis.cache import CONNECTION_INTERRUPTED, omit_exception
from django_redis.exceptions import ConnectionInterrupted
from redis.exceptions import RedisError

from redis_optimizer.cache.coherent import coroutine
from redis_optimizer.cache.coroutines import Coroutines
from redis_optimizer.cache.fill import Fetch
from redis_optimizer.cache.loading import Loading
from redis_optimizer.cache.measured import timed_for
from redis_optimizer.cache.options import PART
from redis_optimizer.cache.recall import ask_or_recall
from redis_optimizer.cache.writing import CoherentCache
from redis_optimizer.core.s3fifo import HOTTEST
from redis_optimizer.core.store import MISSING, UNSURE, Entry, Lease
from redis_optimizer.core.values import thaw
from redis_optimizer.stats.costs import current
from redis_optimizer.switches import is_on

__all__ = ["TieredCache"]


class TieredCache(Coroutines, CoherentCache):
    """A drop-in for ``django_redis.cache.RedisCache`` whose reads are answered in the process.

    Everything that django-redis offers works as before. Set ``BACKEND`` to
    ``"redis_optimizer.cache.TieredCache"``; the tier's own options are in ``OPTIONS["L1"]``, see
    :class:`redis_optimizer.cache.options.Options`.
    """

    _has_own_get: ClassVar[bool] = False
    """Whether a site's class reads single keys in a way of its own: then get_or_set must, too."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._has_own_get = cls.get is not TieredCache.get or cls.aget is not TieredCache.aget
        for name in ("get", "get_many", "has_key"):
            own = getattr(cls, name) is not getattr(TieredCache, name)
            if own and getattr(cls, f"a{name}") is getattr(TieredCache, f"a{name}"):
                setattr(cls, f"a{name}", coroutine(name))  # as Django's does

    # Reading

    def get(
        self, key: Any, default: Any = None, version: int | None = None, client: Any = None
    ) -> Any:
        """Return the value of ``key``: from the process if it is known there, or from Redis.

        Args:
            key: The key.
            default: What to return when there is none.
            version: The key's version; None is the cache's own.
            client: A raw client to read through; the process is not asked then.
        """
        # The lines of LocalStore.find, inline: a call would cost a third of the hit.
        if version is None and key.__class__ is self._plain_key:
            final = None  # to make it would cost a fifth
            entry = self._plain_entries.get(key)
        else:
            final = self._final(key, version)
            entry = self._entries.get(final)
        if entry is not None and client is None:
            store = self._store
            now = monotonic()
            if now < entry.expires_at and now < store.valid_until and entry.epoch == store.epoch:
                store.hits += 1.0
                if entry.hot < HOTTEST:
                    entry.hot += 1
                load = entry.load
                if load is None:
                    return entry.value
                return default if load is MISSING else load(entry.value)
        if client is not None:
            return super().get(key, default, version, client)
        if final is None:
            final = self._final(key, None)
        return self._read(key, final, default, version)

    def get_many(
        self, keys: Iterable[Any], version: int | None = None, client: Any = None
    ) -> dict[Any, Any]:
        """Return the values of those ``keys`` that exist; what is not known here by one command."""
        keys = list(keys)
        if client is not None:
            return super().get_many(keys, version=version, client=client)
        found, absent = self._look_many(keys, version)
        if absent:
            found |= self._read_many(absent, version)
        return {key: found[key] for key in keys if key in found}

    def has_key(self, key: Any, version: int | None = None, client: Any = None) -> bool:
        """Say whether ``key`` exists."""
        entry = self._store.find(self._final(key, version)) if client is None else None
        if entry is not None:
            if entry.value is not UNSURE:
                return entry.load is not MISSING
            self.tier.extra_hits += 1  # it saves no command
        read = partial(super().has_key, key, version=version, client=client)
        if client is not None or not self._serves_stale:
            return read()
        exists, stale = ask_or_recall(self.tier, read, [self._final(key, version)])
        return bool(stale) or exists

    def get_or_set(
        self,
        key: Any,
        default: Any,
        timeout: float | None = DEFAULT_TIMEOUT,
        version: int | None = None,
    ) -> Any:
        """Return the value of ``key``, made by ``default`` if there is none.

        Callers that miss one key at the same time share one call of ``default``, see
        ``OPTIONS["L1"]["SINGLE_FLIGHT"]``.

        Args:
            key: The key.
            default: The value, or a callable that makes it.
            timeout: Seconds to keep it in Redis; None is for ever.
            version: The key's version; None is the cache's own.

        Raises:
            Exception: Whatever ``default`` raised: the same error for all who waited for it.
        """
        loading = self._loading(key, default, timeout, version)
        if loading is None:
            return super().get_or_set(key, default, timeout, version)
        entry = self._store.find(loading.final)
        if entry is not None and entry.load is not MISSING:
            return thaw(entry.value, entry.load)
        return loading.run()

    def read_along(
        self, absent: dict[str, Any], version: int | None, brought: Collection[str]
    ) -> dict[Any, Any]:
        """Return what Redis holds of keys, as :meth:`get_many` does, and keep it.

        Args:
            absent: The keys, by final key: not known in the process.
            version: Their version.
            brought: The final keys that nobody has asked for yet.
        """
        return self._read_many(absent, version, brought)

    # Statistics

    def stats(self) -> dict[str, Any]:
        """Return what this process counted for this alias since it began.

        Returns:
            total_entries, valid_entries, expired_entries, bytes, max_entries, max_bytes, hits,
            misses, hit_ratio (0 to 1), fills, fills_voided, fills_refused, evictions,
            invalidations, flushes, unsigned (values that did not count, see ``SIGNED``),
            stale_served, loads_shared, commands_avoided, coherence
            ("tracking", "ttl", "refused" or "off"), staleness_bound (seconds), breaker ("closed",
            "open", "half-open", or "off" where there is none) and last_error (of the channel).
            Empty when the tier is switched off.
        """
        return self._tier.stats() if self._tier is not None else {}

    def guarded(self, command: Callable[[], Any], otherwise: Any) -> Any:
        """Run a raw command; with IGNORE_EXCEPTIONS a failed connection gives ``otherwise``."""
        outcome = self._guarded(command)
        return otherwise if outcome is CONNECTION_INTERRUPTED else outcome

    @omit_exception(return_value=CONNECTION_INTERRUPTED)
    def _guarded(self, command: Callable[[], Any]) -> Any:
        try:
            return timed_for(self, command)
        except (RedisError, OSError) as error:
            raise ConnectionInterrupted(connection=self.client) from error

    # Details

    def _read(self, key: Any, final: str, default: Any, version: int | None) -> Any:
        """Return what Redis holds, or may be served in its place."""
        self.validate_key(final)
        if not self._serves_stale:
            return self._ask(key, final, default, version)
        read = partial(self._ask, key, final, default, version)
        value, stale = ask_or_recall(self.tier, read, [final])
        return thaw(stale[final].value, stale[final].load) if stale else value

    def _ask(self, key: Any, final: str, default: Any, version: int | None) -> Any:
        """Ask Redis, and keep the answer where that is allowed."""
        tier = self._tier
        lease = tier.begin(final, key) if tier is not None else None
        if tier is None or lease is None:
            return super().get(key, default, version)
        try:
            fetch = tier.fetch(self.primary(), lease)
            sent = tier.now()
            value = (
                self._fetch(key, version, fetch)
                if current() is None
                else timed_for(self, self._fetch, key, version, fetch)
            )
            if final in fetch.raw:
                if fetch.is_told:
                    tier.keep(final, lease, value, fetch.raw[final], fetch.ttl, sent)
                    lease = None  # it is used up
                return default if value is MISSING else value
        except (RedisError, OSError):
            if not tier.has_replicas:
                raise
        finally:
            if lease is not None:
                self._store.release(final, lease)
        # The primary does not answer. A replica may, as without a tier.
        return super().get(key, default, version) if tier.has_replicas else default

    @omit_exception(return_value=MISSING)
    def _fetch(self, key: Any, version: int | None, fetch: Fetch) -> Any:
        """Read as django-redis does; what became of it, ``fetch`` knows."""
        return self.client.get(key, MISSING, version, fetch)

    def _look_many(
        self, keys: list[Any], version: int | None
    ) -> tuple[dict[Any, Any], dict[str, Any]]:
        """Return the values known in the process, and the rest as final key -> key."""
        entries: list[tuple[Any, Entry]] = []
        absent: dict[str, Any] = {}
        for key in keys:
            final = self._final(key, version)
            entry = self._store.find(final)
            if entry is None:
                absent[final] = key
            else:
                entries.append((key, entry))
        if self._tier is not None:  # before the values are made, which takes longer than all else
            self._tier.count_many(len(entries), sent=bool(absent))
        found = {
            key: thaw(entry.value, entry.load)
            for key, entry in entries
            if entry.load is not MISSING
        }
        return found, absent

    def _read_many(
        self, absent: dict[str, Any], version: int | None, brought: Collection[str] = ()
    ) -> dict[Any, Any]:
        """Return what Redis holds of many keys, or may be served in its place."""
        for final in absent:
            self.validate_key(final)
        if not self._serves_stale:
            return self._ask_many(absent, version, brought)
        ask = partial(self._ask_many, absent, version, brought)
        values, stale = ask_or_recall(self.tier, ask, absent)
        recalled = {absent[final]: thaw(entry.value, entry.load) for final, entry in stale.items()}
        return recalled if values is None else values | recalled

    def _ask_many(
        self, absent: dict[str, Any], version: int | None, brought: Collection[str]
    ) -> dict[Any, Any]:
        """Ask Redis for many keys by one command, and keep the answers where that is allowed."""
        keys = list(absent.values())
        tier = self._tier
        leases: dict[str, Lease | None] = {}
        if tier is not None:
            leases = {
                final: tier.begin(final, key, asked=final not in brought)
                for final, key in absent.items()
            }
        if tier is None or not any(leases.values()):
            return super().get_many(keys, version=version)
        try:
            fetch = tier.fetch(self.primary())
            sent = tier.now()
            values: dict[Any, Any] = super().get_many(keys, version=version, client=fetch)
            for final, raw in fetch.raw.items():
                if fetch.is_told and (lease := leases[final]):
                    value = values.get(absent[final], MISSING)
                    # MGET says of a set, a hash or a list that it is not there.
                    tier.keep(final, lease, value, raw, None, sent, is_sure=False)
            if fetch.raw:
                return values
        except (RedisError, OSError):
            if not tier.has_replicas:
                raise
        finally:
            for final, lease in leases.items():
                self._store.release(final, lease)
        return super().get_many(keys, version=version) if tier.has_replicas else {}

    def _loading(
        self, key: Any, default: Any, timeout: float | None, version: int | None
    ) -> Loading | None:
        tier = self._tier
        if tier is None or self._has_own_get:
            return None
        if tier.options.SINGLE_FLIGHT == "off" or not is_on(PART):
            return None
        final = self._final(key, version)
        return Loading(self, tier, final, key, default, timeout, version)
