"""Find the reads that returned a value after a newer one had been acknowledged."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

PRELOADED = -1  # the version of a value that was there before the first request


class Write(NamedTuple):
    """A write that was acknowledged. Times are seconds of one clock for all processes."""

    key: int
    version: int
    started: float
    acked: float


class Read(NamedTuple):
    """A read and the version it returned; None when the key was not there."""

    key: int
    version: int | None
    started: float
    latency: float


def find_stale(reads: Iterable[Read], writes: Iterable[Write]) -> list[float]:
    """Return how long, in seconds, each stale read's value had been out of date as it started.

    A write is newer than another only if it started after the other was acknowledged: for two
    that overlap nobody but the server knows the order, and no read is called stale for them.
    """
    by_key: defaultdict[int, list[Write]] = defaultdict(list)
    acked = {PRELOADED: float("-inf")}
    for write in writes:
        by_key[write.key].append(write)
        acked[write.version] = write.acked
    timelines = {key: _timeline(of_key) for key, of_key in by_key.items()}
    stale = []
    for read in reads:
        if read.version is None or read.key not in timelines:
            continue
        starts, first_acks = timelines[read.key]
        newer = bisect_left(starts, acked[read.version])
        if newer < len(starts) and first_acks[newer] < read.started:
            stale.append(read.started - first_acks[newer])
    return stale


def _timeline(writes: list[Write]) -> tuple[list[float], list[float]]:
    """Return the starts of one key's writes, and the earliest ack from each of them on."""
    writes = sorted(writes, key=lambda write: write.started)
    first_acks = [write.acked for write in writes]
    for place in reversed(range(len(writes) - 1)):
        first_acks[place] = min(first_acks[place], first_acks[place + 1])
    return [write.started for write in writes], first_acks
