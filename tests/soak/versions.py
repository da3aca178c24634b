"""Which versions of the keys were acknowledged, and whether one that is read is too old.

It is kept in the process of the visitors, which no fault meets. Each key has one writer, whose
versions grow. A write that failed may have been applied, now or later: its version makes no other
one stale, and is allowed to be seen.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections import defaultdict
from dataclasses import dataclass, field

Key = tuple[str, int]
"""A cache's alias and the number of a key."""


@dataclass
class Tally:
    """What the reads of one cache came to.

    Attributes:
        reads: Keys that were read.
        absent: Those that were not there: evicted, or never written.
        late: Those that returned what was replaced by an acknowledged write before.
        oldest: The longest that one was replaced before it was read, in seconds.
        beyond: Reads that were older than the bound.
        unknown: Reads of what nobody wrote.
    """

    reads: int = 0
    absent: int = 0
    late: int = 0
    oldest: float = 0.0
    beyond: int = 0
    unknown: int = 0


@dataclass
class _History:
    acked_at: list[float] = field(default_factory=list)
    acked: list[int] = field(default_factory=list)
    failed: set[int] = field(default_factory=set)
    newest: int = 0  # begun


class Versions:
    """The versions of all keys.

    Args:
        bounds: The seconds for which a replaced value may be served, by alias.
    """

    def __init__(self, bounds: dict[str, float]) -> None:
        self.bounds = bounds
        self.tallies = {alias: Tally() for alias in bounds}
        self._keys: dict[Key, _History] = defaultdict(_History)
        self._lock = threading.Lock()

    def begin(self, key: Key) -> int:
        """Return the version that is written now."""
        with self._lock:
            history = self._keys[key]
            history.newest += 1
            # Until it is acknowledged it is as one that failed.
            history.failed.add(history.newest)
            return history.newest

    def acknowledge(self, key: Key, version: int, at: float) -> None:
        """Take note that a version is written."""
        with self._lock:
            history = self._keys[key]
            history.failed.discard(version)
            history.acked_at.append(at)
            history.acked.append(version)

    @property
    def acknowledged(self) -> int:
        """The number of writes that were."""
        return sum(len(history.acked) for history in self._keys.values())

    def judge(self, key: Key, version: int | None, began: float) -> None:
        """Judge what a read that began then returned."""
        with self._lock:
            history, tally = self._keys[key], self.tallies[key[0]]
            tally.reads += 1
            if version is None:
                tally.absent += 1
            elif not 0 < version <= history.newest:
                tally.unknown += 1
            elif version not in history.failed:
                self._compare(history, tally, version, began, self.bounds[key[0]])

    def _compare(
        self, history: _History, tally: Tally, version: int, began: float, bound: float
    ) -> None:
        place = bisect_right(history.acked, version)
        if place < len(history.acked) and (late := began - history.acked_at[place]) > 0:
            tally.late += 1
            tally.oldest = max(tally.oldest, late)
            tally.beyond += late > bound
