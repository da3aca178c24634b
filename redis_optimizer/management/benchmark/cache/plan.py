"""Who asks for what: the requests of every process, and what a perfect L1 would send for them."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple


class Request(NamedTuple):
    """One call of the cache."""

    number: int  # its place in the trace; a write stores it as the value's version
    key: int  # index into Plan.keys
    is_write: bool


@dataclass(frozen=True)
class Plan:
    """The requests of a run. Every row of a report replays the same plan."""

    keys: list[str]
    shares: list[list[Request]]  # one per process, each in the order of the trace
    writes: int
    floor: int  # commands of an L1 without bounds

    @property
    def total(self) -> int:
        """Return the number of requests."""
        return sum(map(len, self.shares))


def make_plan(
    trace: Sequence[str], *, processes: int, writes: float, seed: int, preloaded: bool
) -> Plan:
    """Spread a trace at random over processes and choose which requests write.

    Args:
        trace: keys in the order of the requests.
        processes: how many share the requests.
        writes: percent of the requests that write.
        seed: the same seed makes the same plan.
        preloaded: every key is in Redis before the first request.
    """
    chance = random.Random(seed)  # noqa: S311 - a benchmark must be repeatable
    numbers: dict[str, int] = {}
    shares: list[list[Request]] = [[] for _ in range(processes)]
    ordered: list[tuple[int, Request]] = []
    for number, key in enumerate(trace):
        request = Request(
            number, numbers.setdefault(key, len(numbers)), chance.random() * 100 < writes
        )
        process = chance.randrange(processes)
        shares[process].append(request)
        ordered.append((process, request))
    return Plan(
        keys=list(numbers),
        shares=shares,
        writes=sum(request.is_write for _, request in ordered),
        floor=count_floor(ordered, processes, stored=set(numbers.values()) if preloaded else set()),
    )


def count_floor(ordered: Iterable[tuple[int, Request]], processes: int, stored: set[int]) -> int:
    """Count the commands that remain when L1 never evicts or expires anything.

    These are the writes, each process's first read of a key and its first after a write by
    anybody, and the write that follows a read of a key that Redis does not hold.

    Args:
        ordered: (process, request) in the order of the trace.
        processes: how many processes there are.
        stored: the keys that Redis holds at the start.
    """
    stored = set(stored)
    held: list[set[int]] = [set() for _ in range(processes)]
    commands = 0
    for process, request in ordered:
        if not request.is_write:
            if request.key in held[process]:
                continue
            commands += 1
            if request.key in stored:
                held[process].add(request.key)
                continue
        commands += 1
        stored.add(request.key)
        for keys in held:
            keys.discard(request.key)
    return commands
