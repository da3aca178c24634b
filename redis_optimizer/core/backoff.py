"""How long to leave something alone that has failed."""

import random
from collections.abc import Callable
from math import inf
from time import monotonic
from typing import Final

__all__ = ["Backoff", "spread_out"]

FIRST: Final = 0.5  # seconds
LONGEST: Final = 10.0  # seconds
JITTER: Final = 0.2
"""Share by which a wait is lengthened or shortened, so that processes do not fall into step."""


class Backoff:
    """Wait after a failure, each time longer: 0.5 s, doubling up to 10 s.

    Args:
        now: The clock, in seconds.
        spread: Returns a number from 0 to 1, for the jitter.
    """

    def __init__(
        self,
        *,
        now: Callable[[], float] = monotonic,
        spread: Callable[[], float] = random.random,
    ) -> None:
        self.longest = LONGEST
        self.failures = 0
        self._until = -inf
        self._now = now
        self._spread = spread

    @property
    def until(self) -> float:
        """Return the time of the next attempt; `-inf` without a failure."""
        return self._until

    @property
    def is_waiting(self) -> bool:
        """Tell whether it is too early for an attempt."""
        return self._now() < self._until

    def fail(self) -> None:
        """Note a failure."""
        wait = min(FIRST * 2**self.failures, self.longest)
        self.failures += 1
        self._until = self._now() + spread_out(wait, self._spread())

    def succeed(self) -> None:
        """Note a success."""
        self.failures = 0
        self._until = -inf

    def hurry(self, longest: float) -> None:
        """Wait no longer than so many seconds from now on, and not for what is past."""
        self.longest = longest
        self._until = -inf


def spread_out(seconds: float, chance: float) -> float:
    """Return a wait that is longer or shorter by up to `JITTER`.

    Args:
        seconds: The wait.
        chance: From 0 to 1.
    """
    return seconds * (1 + JITTER * (2 * chance - 1))
