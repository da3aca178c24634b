"""The in-process tier of one cache alias: its store, and what keeps it coherent."""

import logging
import os
import threading
import time
from collections.abc import Callable, Collection, Iterable
from math import inf
from typing import Any

from django.utils.safestring import SafeString
from django_redis.cache import RedisCache
from redis.connection import ConnectionPool

from redis_optimizer.cache.cluster import ClusterClient
from redis_optimizer.cache.fill import ClusterFetch, Fetch, lifetime
from redis_optimizer.cache.options import PART, Options
from redis_optimizer.cache.outage import breaker_state, find_guard
from redis_optimizer.cache.signing import Refusals
from redis_optimizer.cache.together import Known
from redis_optimizer.channel import Channel
from redis_optimizer.connections import Cluster
from redis_optimizer.core.flight import Flights
from redis_optimizer.core.limits import pass_time_limit
from redis_optimizer.core.store import MISSING, UNSURE, Entry, Lease, LocalStore
from redis_optimizer.core.values import ATOMS, freeze
from redis_optimizer.internals import client_options, client_servers, is_pickled
from redis_optimizer.nodes import ClusterChannel
from redis_optimizer.probe import write_probe
from redis_optimizer.signals import cache_cleared, cache_invalidated
from redis_optimizer.switches import is_on

__all__ = ["Tier"]

logger = logging.getLogger("redis_optimizer.cache")

ATOMS.add(SafeString)


class Tier:
    """Keep what one alias reads, for as long as it is known to be what Redis holds.

    Args:
        options: Of the alias.
        remote: A plain django-redis backend with the alias's settings.
        channel_to: Finds this process's channel to the server behind a connection pool, or to a
            cluster.
        all_stores: Finds what all aliases of this process keep.
        now: Clock in seconds; must be monotonic.
        aliases: Finds the aliases that share a tier.
        refusals: Counts what is not taken for a value, where values are signed.
    """

    def __init__(
        self,
        options: Options,
        remote: RedisCache,
        channel_to: Callable[[Any], Channel | ClusterChannel],
        all_stores: Callable[[], list[LocalStore]],
        now: Callable[[], float] = time.monotonic,
        aliases: "Callable[[Tier], list[str]]" = lambda tier: [],
        refusals: Refusals | None = None,
    ) -> None:
        self.options = options
        self.remote = remote
        self.now = now
        self.store = LocalStore(options.MAX_ENTRIES, options.MAX_BYTES, now, options.STALE_IF_ERROR)
        self.flights = Flights()
        self.known = Known()
        self.channel: Channel | ClusterChannel | None = None
        self.refused = ""
        """Why the server does not tell of writes; empty when it does, or was not asked."""
        self.extra_hits = 0
        """Hits that saved no command of their own: the others of one get_many."""
        self.unkept = 0
        self.passed_on = 0
        """Reads that went to Redis because the part is switched off."""
        self.stale_served = 0
        self._channel_to = channel_to
        self._all_stores = all_stores
        self._aliases = aliases
        self._lock = threading.Lock()
        self._gate = threading.Lock()
        self._trusted: float | None = None  # until when the store may be, once it is opened
        self._ready = threading.Event()
        self._pid = os.getpid()
        self._started = False
        self._reads_before = 0
        self._refusals = refusals or Refusals()
        self._raw_is_pickle = is_pickled(remote) and not client_options(remote).get("SIGNED")

    # What the channel asks and tells

    @property
    def heartbeat(self) -> float:
        return self.options.HEARTBEAT

    @property
    def max_staleness(self) -> float:
        return self.options.MAX_STALENESS

    @property
    def prefixes(self) -> tuple[str, ...]:
        return self.options.PREFIXES

    def reads(self) -> int:
        # While the part is off, too: unless a PING goes unanswered, a channel that is dead looks
        # like one on which nobody says anything, and the tier would wait for "on" for ever.
        return self.hits + self.store.misses + self.passed_on

    def prove(self, key: str) -> str:
        pool = self.pool()
        write_probe(pool, key, self.max_staleness)
        if guard := find_guard(pool):
            guard.answered()
        return key

    def on_up(self, valid_until: float) -> None:
        self.refused = ""
        self._open(valid_until)

    def on_alive(self, valid_until: float) -> None:
        with self._gate:
            if self._trusted is not None:
                self._trusted = valid_until
            self.store.extend(valid_until)

    def on_invalidated(self, keys: Iterable[str] | None) -> None:
        if keys is None:
            self.store.clear()
        else:
            self.store.invalidations += self.store.drop(keys)
        if cache_invalidated.receivers:
            self._tell_invalidated(keys)

    def on_down(self) -> None:
        with self._gate:
            self._ready.clear()
            self._trusted = None
            self.store.close()

    def on_refused(self, reason: str) -> None:
        self.refused = reason
        self._open(inf)

    def on_switched(self) -> None:
        """Keep and serve values, or stop, as the switch of the part now says.

        The channel stays, and with it what is known of it: it is trusted for as long as the last
        PING vouches, and no longer. What is kept begins anew.
        """
        with self._gate:
            if not is_on(PART):
                self.store.close()
                self.store.clear()  # nor is anything served stale
            elif self._trusted is not None and not self.store.is_open:
                self.store.open(self._trusted)

    def _open(self, valid_until: float) -> None:
        with self._gate:
            self._trusted = valid_until
            if is_on(PART):
                self.store.open(valid_until)
            self._ready.set()

    # What the backend asks

    @property
    def ready(self) -> bool:
        """True while values are kept and served."""
        return self._ready.is_set() and self.store.is_open

    @property
    def staleness_bound(self) -> float:
        """The longest, in seconds, that a value changed elsewhere can be served."""
        if self.options.COHERENCE == "ttl":
            return self.options.MAX_AGE
        return self.options.MAX_STALENESS

    def start(self) -> None:
        """Begin to keep values, without waiting for the channel."""
        with self._lock:
            if self._started:
                return
            self._started = True
        try:
            self._begin()
        except BaseException:
            with self._lock:
                self._started = False
                self._reads_before = 0
            raise

    def _begin(self) -> None:
        if self.options.COHERENCE == "ttl":
            self._open(inf)
            return
        cluster = self._cluster
        server = self.pool() if cluster is None else cluster
        subscribed = False
        while not subscribed:  # a channel that was stopped meanwhile takes nobody
            self.channel = self._channel_to(server)
            subscribed = self.channel.subscribe(self)

    def _try_start(self) -> None:
        try:
            self.start()
        except RuntimeError as error:
            # No thread to be had, perhaps because the interpreter is shutting down. Reading works
            # without one.
            logger.debug("The tier could not start: %s", error)

    def wait_ready(self, timeout: float) -> bool:
        """Start, and wait until values are kept.

        Args:
            timeout: Seconds.

        Returns:
            False when the time was up first, or the part is switched off.
        """
        self.start()
        return self._ready.wait(timeout) and self.ready

    def stop(self) -> None:
        """Keep nothing, as before the first read. The next reads start it again."""
        self.on_down()
        self.store.clear()  # until then, own writes may not be heard of
        with self._lock:
            self.channel = None
            self._started = False
            self._reads_before = 0
            self._pid = os.getpid()

    def begin(self, final: str, key: object, *, asked: bool = True) -> Lease | None:
        """Take note of a read that goes to Redis.

        Args:
            final: The final key.
            key: The key as the site names it.
            asked: False where nobody asked for it yet: then it is no miss.

        Returns:
            The right to keep what it brings, or None.
        """
        is_off = not is_on(PART)
        store, options = self.store, self.options
        if is_off:
            self.passed_on += asked
        elif asked:
            store.misses += 1
        if not self._started:
            self._reads_before += 1
            if self._reads_before > options.START_AFTER:
                self._try_start()
        elif self._pid != os.getpid():  # forked without Python's knowledge
            self.after_fork_in_child()
        elif not is_off:
            channel = self.channel  # another thread may stop the tier meanwhile
            if channel is not None and self.now() >= store.valid_until:
                channel.ping()
        if is_off or not final.startswith(options.PREFIXES):
            return None
        exclude = options.exclude
        if exclude is not None and exclude.match(str(key)) is not None:
            return None
        return store.lease(final)

    def fetch(self, redis: Any, lease: Lease | None = None) -> Fetch:
        """Make the read that ``lease`` is for, or that of many keys."""
        exact = lease is not None and self._is_exact(lease)
        channel = self.channel
        if isinstance(channel, ClusterChannel) and not self.refused:
            return ClusterFetch(redis, channel.hears, exact=exact)
        return Fetch(redis, exact=exact)

    def _is_exact(self, lease: Lease) -> bool:
        exact = self.options.EXACT_TTL
        if self.options.COHERENCE == "ttl":
            return exact is not False
        if exact == "auto":  # while refused, no value outlives MAX_STALENESS anyway
            return lease.known and not self.refused
        return exact

    def keep(
        self,
        final: str,
        lease: Lease | None,
        value: Any,
        raw: bytes | None,
        ttl: int | None,
        sent: float,
        *,
        is_sure: bool = True,
    ) -> None:
        """Keep what was read, if ``lease`` still holds.

        Args:
            final: The final key.
            lease: What :meth:`begin` returned.
            value: The decoded value; MISSING when there is none.
            raw: What Redis holds, or None when it holds nothing.
            ttl: As PTTL says, in milliseconds; None when not known.
            sent: When the read was sent, on the tier's clock.
            is_sure: False where there is nothing to read also of a key that is no string.
        """
        if raw is None:
            age = 0 if self.refused else self.options.NEGATIVE_AGE
            if age:
                value = None if is_sure else UNSURE
                self.store.fill(
                    final, lease, value, MISSING, 0, sent + min(age, self.options.MAX_AGE)
                )
            else:
                self.store.release(final, lease)
            return
        if value is MISSING:  # it is not signed: ask again, as has_key() does
            self.store.release(final, lease)
            return
        try:
            frozen = freeze(value, raw if self._raw_is_pickle else None)
        except Exception as error:
            pass_time_limit(error)
            # A serializer of the site's own may make what pickle cannot take.
            self.unkept += 1
            self.store.release(final, lease)
            logger.debug("%r is not kept in process: %s", final, error)
            return
        self.store.fill(final, lease, *frozen, expires_at=sent + self._lifetime(ttl))

    def drop(self, finals: Collection[str]) -> None:
        """Let go of keys that were written, whichever alias keeps them."""
        for store in self._all_stores():
            store.drop(finals)

    def clear(self) -> None:
        """Let go of everything, whichever alias keeps it: only the server knows what went."""
        for store in self._all_stores():
            store.clear()
        if cache_cleared.receivers:
            cache_cleared.send_robust(sender=Tier, reason="written")

    def count_many(self, hits: int, *, sent: bool) -> None:
        """Take note of one call for many keys, which is one command at most."""
        self.extra_hits += hits - (hits > 0 and not sent)

    def hears_of(self, final: str) -> bool:
        """Say whether every write of ``final`` will be told of."""
        heard = self.ready and self.channel is not None and not self.refused
        return heard and final.startswith(self.options.PREFIXES)

    @property
    def hits(self) -> int:
        """Reads that this process answered."""
        return int(self.store.hits)

    @property
    def commands_avoided(self) -> int:
        """Commands that were not sent because this process knew the answer."""
        return self.hits - self.extra_hits

    def counts(self) -> dict[str, Any]:
        """Return what this process counted and can tell without a look at each entry."""
        store = self.store
        return {
            "bytes": store.bytes,
            "max_entries": store.max_entries,
            "max_bytes": store.max_bytes,
            "hits": self.hits,
            "misses": store.misses,
            "fills": store.fills,
            "fills_voided": store.voided,
            "fills_refused": store.refused + self.unkept,
            "evictions": store.evictions,
            "invalidations": store.invalidations,
            "flushes": store.flushes,
            "unsigned": self._refusals.count,
            "stale_served": self.stale_served,
            "loads_shared": self.flights.joined,
            "commands_avoided": self.commands_avoided,
            "coherence": self.coherence,
            "staleness_bound": self.staleness_bound,
            "breaker": breaker_state(self.pool()) if self._cluster is None else "off",
        }

    def stats(self) -> dict[str, Any]:
        """Return what this process counted, see :meth:`TieredCache.stats`."""
        store = self.store
        total, valid = len(store), store.count_valid()
        reads = self.hits + store.misses
        return {
            "total_entries": total,
            "valid_entries": valid,
            "expired_entries": max(total - valid, 0),
            **self.counts(),
            "hit_ratio": self.hits / reads if reads else 0.0,
            "last_error": self.channel.last_error if self.channel is not None else "",
        }

    @property
    def coherence(self) -> str:
        """How values are kept coherent now: "tracking", "ttl", "refused" or "off"."""
        if not self.ready:
            return "off"
        return "refused" if self.refused else self.options.COHERENCE

    def recall(self, finals: Iterable[str]) -> dict[str, Entry]:
        """Return what may be served of keys that Redis did not answer for, see STALE_IF_ERROR."""
        found = ((final, self.store.find_stale(final)) for final in finals)
        return {final: entry for final, entry in found if entry is not None}

    def before_fork(self) -> None:
        """Hold the locks, so that the child does not get one while another thread holds it."""
        self._lock.acquire()
        self._gate.acquire()

    def after_fork_in_parent(self) -> None:
        """Let the locks go."""
        self._gate.release()
        self._lock.release()

    def after_fork_in_child(self) -> None:
        """Begin anew: what waits and what is held is the parent's."""
        self._lock = threading.Lock()
        self._gate = threading.Lock()
        self._ready = threading.Event()
        self.flights.reset()
        self.stop()
        self.store.reset_counts()
        self.extra_hits = self.unkept = self.passed_on = self.stale_served = 0

    @property
    def is_told(self) -> bool:
        """True where a channel is to tell of writes."""
        return self.options.COHERENCE == "tracking"

    def pool(self) -> Any:
        """Return the pool that the data goes through; of a cluster, one to the node by which the
        processes of this site hear each other."""
        client = self.remote.client
        if isinstance(client, ClusterClient):
            return client.control_pool()
        return self.remote.client.get_client(write=True).connection_pool

    def pools(self) -> list[ConnectionPool]:
        """Return the pool to each server that values are read from."""
        cluster = self._cluster
        return [self.pool()] if cluster is None else cluster.pools()

    @property
    def _cluster(self) -> Cluster | None:
        client = self.remote.client
        return client.cluster if isinstance(client, ClusterClient) else None

    @property
    def has_replicas(self) -> bool:
        """True when reads may go to another server than the primary."""
        return len(client_servers(self.remote)) > 1

    def _tell_invalidated(self, keys: Iterable[str] | None) -> None:
        if keys is not None:
            keys = [key for key in keys if key.startswith(self.prefixes)]
        if keys != []:  # those under the prefixes of other caches come, too
            cache_invalidated.send_robust(sender=Tier, aliases=self._aliases(self), keys=keys)

    def _lifetime(self, ttl: int | None) -> float:
        options = self.options
        unknown = options.MAX_AGE if options.COHERENCE == "ttl" else options.MAX_STALENESS
        max_age = min(options.MAX_AGE, options.MAX_STALENESS) if self.refused else options.MAX_AGE
        return lifetime(ttl, max_age=max_age, unknown=unknown)
