"""A circuit breaker: what fails again and again is not asked any more, until a probe succeeds."""

import random
import threading
from collections.abc import Callable
from math import inf
from time import monotonic
from typing import Final, Literal

from redis_optimizer.core.backoff import Backoff

__all__ = ["Breaker", "State"]

State = Literal["closed", "open", "half-open"]

LONGEST: Final = 5.0
"""Seconds between two probes at most; the first follows after half a second."""

PROBE_LIMIT: Final = 6.0
"""Seconds after which a probe that did not report is given up."""


class Breaker:
    """Count failures, and say whether to ask at all.

    It opens after a number of failures in a row. A failure is not counted when anybody's call has
    succeeded since the failed one began: one slow command among many that are answered says nothing
    about the server. While it is open one probe at a time is made in the background, so that no
    caller waits for it; any success closes it.

    Args:
        after: Failures in a row after which it opens.
        probe: Begins a probe that will call :meth:`succeed` or :meth:`fail`; False where it cannot.
        on_open: Is told of the reason, in the thread that noticed.
        on_close: Is told of the seconds that it was open, and how many calls were refused.
        now: Clock in seconds; must be monotonic.
        spread: Returns a number from 0 to 1, for the jitter.
    """

    def __init__(
        self,
        after: int,
        *,
        probe: Callable[[], bool],
        on_open: Callable[[str], object] = lambda reason: None,
        on_close: Callable[[float, int], object] = lambda seconds, refused: None,
        now: Callable[[], float] = monotonic,
        spread: Callable[[], float] = random.random,
    ) -> None:
        self.after = after
        self.now = now
        self._probe = probe
        self._on_open = on_open
        self._on_close = on_close
        self._spread = spread
        self.reset()

    def reset(self) -> None:
        """Begin anew, as a forked child does: the lock may be held by a thread of its parent."""
        self._lock = threading.RLock()  # a finalizer that the GC runs inside may ask, too
        self._backoff = Backoff(now=self.now, spread=self._spread)
        self._backoff.longest = LONGEST
        self._is_open = self._is_probing = False
        self.refused = 0
        """Calls refused since it opened."""
        self._failures = 0
        self._succeeded_at = -inf
        self._opened_at = self._probe_ends = 0.0

    def forget(self) -> None:
        """Close it without a word: what was seen so far does not count any more."""
        with self._lock:
            self._is_open = self._is_probing = False
            self._failures = 0
            self._backoff.succeed()

    @property
    def state(self) -> State:
        """Return "closed" while all is well, "half-open" while a probe is under way, or "open"."""
        if not self._is_open:
            return "closed"
        return "half-open" if self._is_probing else "open"

    def admits(self) -> bool:
        """Say whether to ask now. Who is told so reports how it went."""
        if not self._is_open:
            return True
        with self._lock:
            if not self._is_open:
                return True
            now = self.now()
            if now < self._probe_ends if self._is_probing else self._backoff.is_waiting:
                self.refused += 1
                return False
            self._probe_ends = now + PROBE_LIMIT
            # One that never came back: threads may not run here. The caller's own call is the next.
            is_given_up, self._is_probing = self._is_probing, True
        if is_given_up or not self._probe():
            return True
        with self._lock:
            self.refused += 1
        return False

    def succeed(self) -> None:
        """Take note of an answer."""
        self._succeeded_at = self.now()
        if not self._failures and not self._is_open:
            return
        with self._lock:
            was_open, self._is_open = self._is_open, False
            self._is_probing = False
            self._failures = 0
            self._backoff.succeed()
            seconds, refused = self._succeeded_at - self._opened_at, self.refused
        if was_open:
            self._on_close(seconds, refused)

    def fail(self, began: float, reason: str) -> None:
        """Take note of a call that had no answer.

        Args:
            began: When it was begun, on this breaker's clock.
            reason: What went wrong, in a few words.
        """
        with self._lock:
            if began < self._succeeded_at:
                return
            if self._is_open:
                if self._is_probing:
                    self._is_probing = False
                    self._backoff.fail()
                return
            self._failures += 1
            if self._failures < self.after:
                return
            self._is_open = True
            self.refused = 0
            self._opened_at = self.now()
            self._backoff.fail()
        self._on_open(reason)
