"""Until when what a store holds could be trusted, era by era."""

from math import inf
from typing import Final

__all__ = ["Eras"]

MOST: Final = 64
"""Eras that are remembered: a channel that fails all the time costs no memory."""


class Eras:
    """The ends of past epochs. One that was removed for good has none.

    Args:
        stale_for: Seconds for which an end matters; 0: none is remembered.
    """

    def __init__(self, stale_for: float) -> None:
        self.stale_for = stale_for
        self._ends: dict[int, float] = {}

    def end(self, epoch: int, at: float, now: float) -> None:
        """Note that what was kept in ``epoch`` could be trusted until ``at``."""
        if not self.stale_for:
            return
        self._ends[epoch] = at
        for old, ended in list(self._ends.items()):
            if ended + self.stale_for <= now or len(self._ends) > MOST:
                del self._ends[old]

    def ended(self, epoch: int) -> float:
        """Return when an epoch ended; `-inf` where nothing of it may be used."""
        return self._ends.get(epoch, -inf)

    def forget(self) -> None:
        """Let nothing of the past be used."""
        self._ends.clear()
