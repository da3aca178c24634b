"""Leave envelopes to other workers while this one has enough to do.

Celery's prefetch limit counts messages, and an envelope is one. A worker that took as many of them
as it may take jobs would sit on work that others are idle for.
"""

from time import monotonic
from typing import Any, Final

from redis_optimizer.tasks.celery_internals import filter_queues, set_wait, wait_of
from redis_optimizer.tasks.envelope import plain_queue

__all__ = ["Hold"]

FIRST_WAIT: Final = 0.1
"""Seconds that a worker waits for other messages at a time, meanwhile, and then twice as long, and
so on. A wait that has begun sees no envelope: it must be over before the jobs in hand are done."""

LONGEST_REST_WAIT: Final = 1.0
"""Seconds that a worker waits for other messages at a time, while it leaves envelopes alone."""


class Hold:
    """Whether a consumer takes envelopes. Its other messages come as ever."""

    def __init__(self) -> None:
        self.is_on = False
        self._channel: Any = None
        self._wait = 0.0
        self._enough = 0
        self._since = 0.0
        self._count = 0
        self._last = 0
        self._rests_until = 0.0

    def begin(self, channel: Any) -> None:
        """Take no more envelopes.

        Args:
            channel: Where they come from, when it has just given one: it is not waiting for more.
        """
        if self.is_on:
            return
        self.is_on = True
        if channel is not self._channel:
            self._channel = channel
            filter_queues(channel, self._choose)
        self._wait = wait_of(channel)
        set_wait(channel, min(self._wait or FIRST_WAIT, FIRST_WAIT))

    def rest(self, channel: Any, seconds: float) -> None:
        """Take none for a while, however little there is to do: they are not for this worker.

        Args:
            channel: As with `begin`.
            seconds: Until `end` does anything.
        """
        self._rests_until = monotonic() + seconds
        self.begin(channel)

    def end(self) -> None:
        """Take envelopes again."""
        if self.is_on and monotonic() >= self._rests_until:
            self.is_on = False
            set_wait(self._channel, self._wait)

    def note(self, count: int) -> None:
        """Take in that jobs are done with."""
        self._turn()
        self._count += count

    def enough(self, least: int) -> int:
        """Return how many jobs that wait are enough: what is done in a second.

        Args:
            least: Where jobs are slow.
        """
        self._enough = max(least, self._done())
        return self._enough

    def _done(self) -> int:
        """Return the number of jobs done in the last second, or in this one if that is more."""
        self._turn()
        return max(self._last, self._count)

    def _turn(self) -> None:
        now = monotonic()
        if (passed := now - self._since) >= 1:
            self._last = self._count if passed < 2 else 0
            self._since, self._count = now, 0

    def _choose(self, queues: list[str]) -> list[str]:
        """Return the queues that the channel is to wait for, as it begins to."""
        if not self.is_on:
            return queues
        longest = self._enough / max(1, self._done()) / 2
        if monotonic() < self._rests_until:
            longest = max(longest, LONGEST_REST_WAIT)
        wait = min(2 * wait_of(self._channel), longest)
        set_wait(self._channel, min(wait, self._wait) if self._wait else wait)  # the next one
        return [queue for queue in queues if plain_queue(queue) is None]
