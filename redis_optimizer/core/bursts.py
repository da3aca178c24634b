"""When the channel waits a moment, so that what comes one by one is read in one go.

Each message that wakes the channel's thread costs some 30 us of processor time, and the GIL, for
which it competes with whoever writes just then; one that waits beside others costs 7.
"""

from collections import deque
from typing import Final

__all__ = ["FEWEST", "FIRST", "MOST", "PAUSE", "WITHIN", "Bursts"]

PAUSE: Final = 0.002
"""Seconds for which the thread waits before it reads again, while messages come in a burst."""

MOST: Final = 256
"""Messages that are taken at once: some 2 ms of work."""

FIRST: Final = 6
WITHIN: Final = 0.002
"""So many messages within so many seconds are a burst. A thread that does nothing but write makes
10,000 a second; at 1,000 a pause would bring two, and make what others wrote late for little."""

FEWEST: Final = 3
"""Fewer after a pause end the burst."""


class Bursts:
    """Tell whether messages come so fast that waiting for the next ones pays."""

    def __init__(self) -> None:
        self.is_on = False
        """True in a burst. Outside of one, nothing waits."""
        self.pause = PAUSE
        """Seconds to wait before the next look; 0 where more has come than was taken."""
        self._latest: deque[float] = deque(maxlen=FIRST)

    def came(self, now: float) -> None:
        """Take note of a message that came by itself.

        Args:
            now: The time, in seconds of a monotonic clock.
        """
        self._latest.append(now)
        self.is_on = len(self._latest) == FIRST and now - self._latest[0] < WITHIN

    def taken(self, count: int) -> None:
        """Take note of how many messages were there after a pause."""
        self.pause = 0.0 if count >= MOST else PAUSE
        if count < FEWEST:
            self.is_on = False
            self._latest.clear()
