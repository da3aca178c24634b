"""An in-process store with S3-FIFO eviction, lifetimes, leases and epochs.

Reads take no lock: an :class:`Entry` never changes once it is published, but for ``hot`` (a counter
to which a lost update does no harm) and ``expires_at``.
"""

import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from math import inf
from typing import Any, Final

from redis_optimizer.core.eras import Eras
from redis_optimizer.core.forks import around_fork
from redis_optimizer.core.prefixes import PrefixIndex
from redis_optimizer.core.s3fifo import HOTTEST, S3Fifo
from redis_optimizer.core.values import Load

__all__ = ["MISSING", "UNSURE", "Entry", "Lease", "LocalStore"]

OVERHEAD: Final = 392
"""Bytes that an entry costs beyond its key and value, with one index of short keys: measured as
resident memory over 100,000 entries on CPython 3.13."""

SWEEP_INTERVAL: Final = 300.0
"""Seconds between two clean-ups of what has expired."""

SWEEP_STEP: Final = 8
"""Entries that each fill looks at while a clean-up is under way (about 1 us each)."""


class _Missing:
    """Marks a remembered miss: the key is known to be absent."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "MISSING"

    def __call__(self, kept: bytes) -> Any:
        return self


MISSING: Final = _Missing()

UNSURE: Final = object()
"""The value of a remembered miss that may be a key of another type."""


class Entry:
    """One value. ``load`` is None for an object kept as it is, MISSING for a remembered miss."""

    __slots__ = ("epoch", "expires_at", "hot", "load", "size", "value")

    def __init__(self, value: Any, load: Load, size: int, expires_at: float, epoch: int) -> None:
        self.value = value
        self.load = load
        self.size = size
        self.expires_at = expires_at
        self.epoch = epoch
        self.hot = 0


class Lease:
    """The right to fill one key. Void as soon as the key was dropped or the store flushed."""

    __slots__ = ("known",)

    def __init__(self, known: bool) -> None:
        self.known = known
        """The store, or its ghost, held this key before: it is worth asking for its TTL."""


class LocalStore:
    """A bounded, thread-safe map from key to value.

    Args:
        max_entries: How many entries are kept at most.
        max_bytes: How many bytes they may take: keys, values and :data:`OVERHEAD` each.
        now: Clock in seconds; must be monotonic.
        stale_for: Seconds for which :meth:`find_stale` finds what is not servable any more.

    A store starts closed. It is opened by whoever guarantees its coherence, who also moves
    ``valid_until``; while it is closed nothing is served, leased or filled.
    """

    def __init__(
        self,
        max_entries: int = 10_000,
        max_bytes: int = 64 * 1024**2,
        now: Callable[[], float] = time.monotonic,
        stale_for: float = 0.0,
    ) -> None:
        self.max_entries = max_entries
        self.max_bytes = max_bytes
        self.now = now
        self.stale_for = stale_for
        self.lock = threading.RLock()  # a finalizer that the GC runs inside may come back here
        self.entries: dict[str, Entry] = {}
        self.valid_until = 0.0
        self.epoch = 0
        self.is_open = False
        self.bytes = 0
        self.reset_counts()
        self._index: PrefixIndex[Entry] = PrefixIndex()
        self._queues = S3Fifo(max_entries)
        self._leases: dict[str, Lease] = {}
        self._watchers: dict[str, list[Callable[[], object]]] = {}
        self._sweep: Iterator[str] = iter(())
        self._is_sweeping = False
        self._next_sweep = now() + SWEEP_INTERVAL
        self._spared = False  # the sweep left entries that may be served stale
        self._is_strict = False  # it leaves none, until it has looked at all
        self._eras = Eras(stale_for)
        with _forking:
            _stores.add(self)

    def __len__(self) -> int:
        return len(self.entries)

    # Reading

    def find(self, key: str) -> Entry | None:
        """Return the servable entry of ``key``, counted as a hit, or None.

        ``TieredCache.get`` repeats these lines inline: a call costs a third of a hit.
        """
        entry = self.entries.get(key)
        if entry is None:
            return None
        now = self.now()
        if now >= entry.expires_at or now >= self.valid_until or entry.epoch != self.epoch:
            return None
        self.hits += 1.0
        if entry.hot < HOTTEST:
            entry.hot += 1
        return entry

    def under(self, prefix: str) -> Mapping[str, Entry]:
        """Return the entries whose keys begin with ``prefix``, by the rest of the key.

        Returns:
            A mapping that stays up to date. Not each of its entries may be served, see
            :meth:`find`.
        """
        with self.lock:
            return self._index.under(prefix, self.entries)

    def find_stale(self, key: str) -> Entry | None:
        """Return an entry for one who cannot have anything better: not a hit, nor a known miss.

        Returns:
            What was servable ``stale_for`` seconds ago or less, and not removed since; else None.
        """
        with self.lock:
            entry = self.entries.get(key)
            if entry is None or entry.load is MISSING or self.now() >= self._stale_until(entry):
                return None
            return entry

    def settle(self, before: Mapping[str, Entry | None]) -> None:
        """Remove what is older than an answer that was just read: it must not be found stale.

        Args:
            before: What was kept of its keys when it was asked for.
        """
        with self.lock:
            now = self.now()
            for key, old in before.items():
                entry = self.entries.get(key)
                if entry is None:
                    continue
                # One that took its place may be that answer, and wait for trust.
                is_old = entry is old and now >= self.valid_until
                if is_old or entry.expires_at <= now or entry.epoch != self.epoch:
                    self._remove(key)

    # Filling

    def lease(self, key: str) -> Lease | None:
        """Take the right to fill ``key``. Must be called before the read is sent to the server.

        Readers that are under way at the same time share one lease: nothing happened to the key
        since the first of them asked, so what any of them reads is current.

        Returns:
            The lease, or None while the store is closed.
        """
        with self.lock:
            if not self.is_open:
                return None
            lease = self._leases.get(key)
            if lease is None:
                known = key in self.entries or self._queues.remembers(key)
                lease = self._leases[key] = Lease(known)
            return lease

    def release(self, key: str, lease: Lease | None) -> None:
        """Give a lease back unused: the read failed, or what it read is not to be kept."""
        with self.lock:
            if lease is not None and self._leases.get(key) is lease:
                del self._leases[key]

    def fill(
        self, key: str, lease: Lease | None, value: Any, load: Load, size: int, expires_at: float
    ) -> bool:
        """Keep what was read under ``lease``.

        Args:
            key: The final cache key.
            lease: From :meth:`lease`, taken before the read was sent.
            value: The frozen value (see :mod:`redis_optimizer.core.values`).
            load: How to read it; MISSING for a remembered miss.
            size: Bytes that the value takes.
            expires_at: When it stops being served, on this store's clock.

        Returns:
            False when the lease is void (nothing is kept) or the value is too large.
        """
        with self.lock:
            if lease is None or self._leases.get(key) is not lease:
                self.voided += 1
                return False
            del self._leases[key]
            self.fills += 1
            return self._put(key, Entry(value, load, size, expires_at, self.epoch))

    def put(self, key: str, value: Any, load: Load, size: int, expires_at: float) -> bool:
        """Keep a value without a lease: for a store that is itself the source of truth."""
        with self.lock:
            self._leases.pop(key, None)
            return self._put(key, Entry(value, load, size, expires_at, self.epoch))

    # Dropping

    def drop(self, keys: Iterable[str]) -> int:
        """Remove keys and void their leases.

        Returns:
            How many of them were held.
        """
        dropped = 0
        watched = []
        with self.lock:
            entries, leases, watchers = self.entries, self._leases, self._watchers
            for key in keys:
                if key in entries:
                    dropped += self._remove(key)
                if key in leases:
                    del leases[key]
                if key in watchers:
                    watched.append(key)
            for key in watched:  # last: one that fails must not keep a key from being dropped
                self._wake(key)
        return dropped

    def clear(self) -> None:
        """Remove everything, for good, in constant time."""
        with self.lock:
            self._eras.forget()
            self._new_epoch()

    def open(self, valid_until: float = inf) -> None:
        """Begin an era in which entries may be filled, and served until ``valid_until``."""
        with self.lock:
            self._end_era()
            self._new_epoch()
            self.is_open, self.valid_until = True, valid_until

    def extend(self, valid_until: float) -> None:
        """Serve entries until ``valid_until``, unless the store was closed meanwhile."""
        with self.lock:
            if self.is_open:
                self.valid_until = valid_until

    def close(self) -> None:
        """Serve and fill nothing until the next :meth:`open`; what was kept is not trusted."""
        with self.lock:
            self._end_era()
            self.is_open, self.valid_until = False, 0.0
            self._new_epoch()

    def reset_counts(self) -> None:
        """Count from 0 again, as a forked child does: what its parent counted is the parent's."""
        # CPython has free floats at hand, and allocates an int: 7 ns of a hit.
        self.hits = 0.0
        self.misses = self.fills = self.voided = 0
        self.evictions = self.invalidations = self.flushes = self.refused = 0

    # Waiting

    def watch(self, key: str, wake: Callable[[], object]) -> Callable[[], None]:
        """Call ``wake`` whenever ``key`` is dropped or the store is flushed.

        Returns:
            A function that ends the watch.
        """
        with self.lock:
            self._watchers.setdefault(key, []).append(wake)

        def unwatch() -> None:
            with self.lock:
                watchers = self._watchers.get(key, [])
                if wake in watchers:
                    watchers.remove(wake)
                if not watchers:
                    self._watchers.pop(key, None)

        return unwatch

    def count_valid(self) -> int:
        """Count the entries that would be served now. Looks at each: for statistics only."""
        now, epoch = self.now(), self.epoch
        if now >= self.valid_until:
            return 0
        return sum(e.expires_at > now and e.epoch == epoch for e in list(self.entries.values()))

    # Below here the lock is held

    def _end_era(self) -> None:
        if self.is_open:
            now = self.now()
            self._eras.end(self.epoch, min(now, self.valid_until), now)

    def _stale_until(self, entry: Entry) -> float:
        if not self.stale_for:
            return -inf
        is_current = self.is_open and entry.epoch == self.epoch
        ended = self.valid_until if is_current else self._eras.ended(entry.epoch)
        return min(entry.expires_at, ended) + self.stale_for

    def _new_epoch(self) -> None:
        # Entries of older epochs stay where they are until evicted or swept: freeing 100,000 of
        # them at once would hold the GIL for tens of milliseconds. The sweep is due at once: those
        # in the main queue would leave newcomers a tenth of the room.
        self.epoch += 1
        self.flushes += 1
        self._leases.clear()
        self._next_sweep = self.now()
        for key in list(self._watchers):
            self._wake(key)

    def _wake(self, key: str) -> None:
        for wake in list(self._watchers.get(key, ())):
            wake()

    def _put(self, key: str, entry: Entry) -> bool:
        now = self.now()
        entry.size += len(key) + OVERHEAD
        if entry.size > self.max_bytes >> 3:  # one huge value must not push out all the others
            self._remove(key)
            self.refused += 1
            return False
        old = self.entries.get(key)
        returning = old is None and self._queues.recall(key)
        if old is not None:  # an overwrite counts as a use
            entry.hot = min(old.hot + 1, HOTTEST)
            self.bytes -= old.size
            # It gets its place back below: the room that it may need is made of others.
            self._queues.vacate(key)
        self.entries[key] = entry
        self._index.put(key, entry)
        self.bytes += entry.size
        is_short = False
        while len(self.entries) > self.max_entries or self.bytes > self.max_bytes:
            is_short = True
            victim = self._queues.evict(self.entries, now, self.epoch)
            if victim is not None and self._take_out(victim):
                self.evictions += 1
            elif self._queues.is_empty:
                self._recover(key)
        self._queues.add(key, returning=returning)
        if self._is_sweeping or is_short or self._is_strict or now >= self._next_sweep:
            self._tidy(now, is_short)
        self._queues.compact(len(self.entries))
        return True

    def _recover(self, newcomer: str) -> None:
        # The exception of a signal, such as Celery's SoftTimeLimitExceeded, came between two lines
        # of a call before: an entry has no place in the queues, or bytes are counted that are gone.
        self._queues.place(key for key in list(self.entries) if key != newcomer)
        self.bytes = sum(entry.size for entry in list(self.entries.values()))

    def _remove(self, key: str) -> bool:
        if not self._take_out(key):
            return False
        self._queues.vacate(key)
        return True

    def _take_out(self, key: str) -> bool:
        entry = self.entries.get(key)
        if entry is not None:
            # Dead first: the exception of a signal may come before the index has let go of it, and
            # nobody would look for it there again.
            entry.expires_at = -inf
        gone = self.entries.pop(key, None)
        if gone is None:
            return False
        self.bytes -= gone.size
        self._index.remove(key)
        return True

    def _tidy(self, now: float, is_short: bool) -> None:
        """Do a bounded part of the clean-up, so that no thread and no long pause is needed.

        Args:
            now: The time.
            is_short: Room had to be made. Then what could only be served stale gives way.
        """
        self._is_strict |= is_short
        keys = list(islice(self._sweep, SWEEP_STEP))
        if not keys and (now >= self._next_sweep or (self._is_strict and self._spared)):
            self._sweep = iter(list(self.entries))
            self._next_sweep = now + SWEEP_INTERVAL
            self._spared = False
            self._is_sweeping = True
        elif not keys:
            self._is_strict = self._is_sweeping = False
        for key in keys:
            entry = self.entries.get(key)
            if entry is None or (entry.expires_at > now and entry.epoch == self.epoch):
                continue
            is_of_use = entry.load is not MISSING and now < self._stale_until(entry)
            if is_of_use and not self._is_strict:
                self._spared = True
            else:
                self._remove(key)


# Fork: a child must not inherit a lock that a thread of the parent holds, nor what that thread had
# half done.

_stores: "weakref.WeakSet[LocalStore]" = weakref.WeakSet()
_held: list[LocalStore] = []
_forking = threading.RLock()  # one fork at a time, and no new store meanwhile


def _before_fork() -> None:
    _forking.acquire()
    _held.extend(_stores)
    for store in _held:
        store.lock.acquire()


def _after_fork_in_child() -> None:
    # New locks, not released ones: a fork in C may have come without the call before it.
    global _forking
    _forking = threading.RLock()
    for store in _stores:
        store.lock = threading.RLock()
    _held.clear()


def _after_fork_in_parent() -> None:
    for store in _held:
        store.lock.release()
    _held.clear()
    _forking.release()


around_fork(
    before=_before_fork,
    after_in_parent=_after_fork_in_parent,
    after_in_child=_after_fork_in_child,
)
