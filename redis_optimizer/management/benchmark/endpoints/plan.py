"""Who asks when."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["Poll", "make_plan"]


class Poll(NamedTuple):
    """One request.

    Args:
        at: seconds after the start.
        path: what is asked for, with its query.
    """

    at: float
    path: str


def make_plan(
    paths: Sequence[str], *, clients: int, interval: float, seconds: float, seed: int
) -> list[Poll]:
    """Return the requests of clients that each ask for every path, again and again.

    Args:
        paths: what each of them asks for.
        clients: how many there are; each begins at a moment of its own.
        interval: seconds between two times that one of them asks.
        seconds: how long they go on.
        seed: the same seed chooses the same moments.
    """
    chance = random.Random(seed)  # noqa: S311  # nothing depends on it being hard to guess
    polls = []
    for _ in range(clients):
        at = chance.uniform(0, interval)
        while at < seconds:
            polls += [Poll(at, path) for path in paths]
            at += interval
    return sorted(polls)
