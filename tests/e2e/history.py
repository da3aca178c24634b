"""What happened in a run, and what that says about coherence.

Nothing is shared while the run lasts: every thread writes down when its calls began and ended (on
`time.monotonic`, one clock for all processes of a machine) and what they returned. Afterwards the
histories of all processes are judged together.

The order in which the server applied two writes is known in two cases only:

* one was acknowledged before the other began;
* both are increments of the same value: `incr` returns the server's own count.

A value is **stale** for a read that began after a write was acknowledged which is known to follow
it. Two plain writes that overlap have no known order and make nothing stale, so a report of a
violation is never a matter of luck. A write that failed may have been applied, now or later: it is
allowed to be seen, and makes nothing stale.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from itertools import accumulate
from math import inf
from typing import NamedTuple

ABSENT = -1  # the value of a key that does not exist
UNKNOWN = -2  # what an increment that failed would have returned
STRIDE = 16  # bits left for increments between two values that were set


class Write(NamedTuple):
    start: float
    end: float  # infinite when it failed
    key: int
    value: int


def times() -> array[float]:
    return array("d")


def numbers() -> array[int]:
    return array("q")


@dataclass
class Calls:
    """Reads or writes in columns: a run makes a million of them."""

    start: array[float] = field(default_factory=times)
    end: array[float] = field(default_factory=times)
    key: array[int] = field(default_factory=numbers)
    value: array[int] = field(default_factory=numbers)

    def add(self, start: float, end: float, key: int, value: int) -> None:
        self.start.append(start)
        self.end.append(end)
        self.key.append(key)
        self.value.append(value)

    def extend(self, others: Calls) -> None:
        for column in fields(self):
            getattr(self, column.name).extend(getattr(others, column.name))

    def __len__(self) -> int:
        return len(self.start)

    def __iter__(self) -> Iterator[tuple[float, float, int, int]]:
        return zip(self.start, self.end, self.key, self.value, strict=True)


@dataclass
class History:
    """The calls of one process."""

    reads: Calls = field(default_factory=Calls)
    writes: Calls = field(default_factory=Calls)
    errors: Counter[str] = field(default_factory=Counter)

    def extend(self, other: History) -> None:
        self.reads.extend(other.reads)
        self.writes.extend(other.writes)
        self.errors.update(other.errors)


@dataclass
class Tally:
    """What the reads of some processes came to. Times are in milliseconds."""

    reads: int = 0
    stale: int = 0
    max_stale_ms: float = 0.0
    own_write_missed: int = 0
    never_written: int = 0

    @property
    def stale_share(self) -> float:
        return self.stale / self.reads if self.reads else 0.0

    def add(self, other: Tally) -> None:
        self.reads += other.reads
        self.stale += other.stale
        self.max_stale_ms = max(self.max_stale_ms, other.max_stale_ms)
        self.own_write_missed += other.own_write_missed
        self.never_written += other.never_written


class Timeline:
    """The writes of one key, and when each value was certainly replaced by `overwriters`."""

    def __init__(self, writes: Iterable[Write], overwriters: Iterable[Write]) -> None:
        self._starts, self._first_ends = first_ends(
            (write.start, write.end) for write in overwriters
        )
        counts: dict[int, list[tuple[float, float]]] = defaultdict(list)
        for write in overwriters:
            if write.value >= 0:
                counts[write.value >> STRIDE].append((write.value, write.end))
        self._counts = {base: first_ends(pairs) for base, pairs in counts.items()}

        # A key is absent when the run begins.
        absences = [(-inf, self._replaced_after(-inf))]
        self.replaced: dict[int, float] = {}
        for write in writes:
            if write.value == ABSENT:
                absences.append((write.start, self._replaced_after(write.end)))
            elif write.value >= 0:
                self.replaced[write.value] = min(
                    self._replaced_after(write.end), self._counted_past(write.value)
                )
        absences.sort()
        self._absent_from = [start for start, _ in absences]
        self._present_at = list(accumulate((end for _, end in absences), max))
        # Increments that failed but were applied all the same leave values that nobody noted.
        self._bases = {value >> STRIDE for value in self.replaced}
        self._failed_increments = sum(write.value == UNKNOWN for write in writes)

    def replaced_at(self, value: int, seen: float) -> float | None:
        """Return when `value` was certainly gone; None for one that was never written.

        Args:
            value: What was read.
            seen: When the read ended: no write that began later explains it.
        """
        if value == ABSENT:
            return self._present_at[bisect_right(self._absent_from, seen) - 1]
        if (replaced := self.replaced.get(value)) is not None:
            return replaced
        if self._failed_increments and value >> STRIDE in self._bases:
            return self._counted_past(value)
        return None

    def _replaced_after(self, end: float) -> float:
        """Return the first acknowledgement among the writes that began after `end`."""
        return self._first_ends[bisect_right(self._starts, end)]

    def _counted_past(self, value: int) -> float:
        """Return the first acknowledgement among the further increments of `value`."""
        counts, ends = self._counts.get(value >> STRIDE, ([], [inf]))
        return ends[bisect_right(counts, value)]


def first_ends(pairs: Iterable[tuple[float, float]]) -> tuple[list[float], list[float]]:
    """Sort (position, end) pairs; return the positions, and the first end from each on."""
    ordered = sorted(pairs)
    ends = list(accumulate((end for _, end in reversed(ordered)), min, initial=inf))
    return [position for position, _ in ordered], ends[::-1]


def judge(histories: Mapping[int, History]) -> dict[int, Tally]:
    """Compare every read with the writes of all processes.

    Args:
        histories: What each process did, by its number.

    Returns:
        One tally for each process.
    """
    writes: dict[int, list[Write]] = defaultdict(list)
    own: dict[int, dict[int, list[Write]]] = {number: defaultdict(list) for number in histories}
    for number, history in histories.items():
        for call in history.writes:
            write = Write(*call)
            writes[write.key].append(write)
            own[number][write.key].append(write)
    everyone = {key: Timeline(writes[key], writes[key]) for key in writes}
    return {
        number: tally(
            history.reads,
            everyone,
            {key: Timeline(writes[key], own[number][key]) for key in writes},
        )
        for number, history in histories.items()
    }


def tally(reads: Calls, everyone: Mapping[int, Timeline], own: Mapping[int, Timeline]) -> Tally:
    result = Tally(reads=len(reads))
    nothing = Timeline((), ())
    for start, end, key, value in reads:
        replaced = everyone.get(key, nothing).replaced_at(value, end)
        if replaced is None:
            result.never_written += 1
        elif start > replaced:
            result.stale += 1
            result.max_stale_ms = max(result.max_stale_ms, (start - replaced) * 1000)
            # Only a stale value can miss an own write: own writes are some of all writes.
            replaced = own.get(key, nothing).replaced_at(value, end)
            result.own_write_missed += replaced is not None and start > replaced
    return result
