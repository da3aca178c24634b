"""Jobs of one kind that wait to leave the process together."""

import random
from collections.abc import Callable, Iterable, Iterator
from math import inf
from time import monotonic
from typing import Final, Generic, TypeVar

__all__ = ["JobBuffer"]

J = TypeVar("J")

JITTER: Final = 0.2
"""Share by which a delay is lengthened or shortened, so that processes do not fall into step."""

FIRST_RETRY: Final = 0.5  # seconds
LONGEST_RETRY: Final = 10.0  # seconds


class JobBuffer(Generic[J]):
    """Hold jobs until there are enough of them, or the oldest has waited long enough.

    It starts no thread and takes no lock: who owns it asks `due` and calls `take`. After `take`
    comes either `sent` or `give_back`.

    Args:
        size: Jobs that leave together.
        max_bytes: Bytes that leave together; a job that has more leaves alone.
        timeout: Seconds that a job waits at most, while the jobs before it can be sent.
        delay: The least time in seconds between two departures; 0 for none.
        now: The clock, in seconds.
        spread: Returns a number from 0 to 1, for the jitter.
    """

    def __init__(
        self,
        *,
        size: int,
        max_bytes: int,
        timeout: float,
        delay: float = 0.0,
        now: Callable[[], float] = monotonic,
        spread: Callable[[], float] = random.random,
    ) -> None:
        self.size = size
        self.max_bytes = max_bytes
        self.timeout = timeout
        self.delay = delay
        self._now = now
        self._spread = spread
        self._jobs: dict[str, tuple[J, int, float]] = {}
        self._bytes = 0
        self._not_before = -inf
        self._failures = 0
        self._longest_retry = LONGEST_RETRY

    def __len__(self) -> int:
        return len(self._jobs)

    def __contains__(self, id: str) -> bool:
        return id in self._jobs

    def __iter__(self) -> Iterator[str]:
        return iter(self._jobs)

    @property
    def bytes(self) -> int:
        """Return the bytes of all jobs."""
        return self._bytes

    @property
    def is_full(self) -> bool:
        """Tell whether enough jobs are here to leave."""
        return len(self._jobs) >= self.size or self._bytes >= self.max_bytes

    @property
    def is_held(self) -> bool:
        """Tell whether jobs must wait, however many: for the delay, or after a failure."""
        return self._now() < self._not_before

    @property
    def failures(self) -> int:
        """Return how many departures in a row have failed."""
        return self._failures

    @property
    def due(self) -> float:
        """Return the time at which jobs should leave: `inf` without jobs."""
        if not self._jobs:
            return inf
        if self.is_full:
            return self._not_before
        _, _, since = next(iter(self._jobs.values()))
        return max(since + self.timeout, self._not_before)

    def add(self, id: str, job: J, size: int) -> None:
        """Take a job.

        Args:
            id: Its id; a job that is here under that id is replaced and keeps its place.
            job: The job.
            size: Its bytes.
        """
        _, before, since = self._jobs.get(id, (job, 0, self._now()))
        self._jobs[id] = (job, size, since)
        self._bytes += size - before

    def remove(self, id: str) -> J | None:
        """Take a job out; None when it is not here."""
        job, size, _ = self._jobs.pop(id, (None, 0, 0.0))
        self._bytes -= size
        return job

    def take(self) -> list[tuple[str, J, int]]:
        """Take out the jobs that should leave together, the oldest first.

        Returns:
            The id, the job and its bytes, for each.
        """
        taken: list[tuple[str, J, int]] = []
        total = 0
        for id, (job, size, _) in self._jobs.items():
            if taken and (len(taken) >= self.size or total + size > self.max_bytes):
                break
            taken.append((id, job, size))
            total += size
        for id, _, _ in taken:
            self.remove(id)
        return taken

    def sent(self) -> None:
        """Note that what was taken has left: the next may not leave before the delay is over."""
        self._failures = 0
        self._hold(self.delay)

    def give_back(self, jobs: Iterable[tuple[str, J, int]]) -> None:
        """Put back what was taken and could not leave, before what has come since.

        The next attempt comes later each time: `FIRST_RETRY` seconds, doubling up to
        `LONGEST_RETRY`.
        """
        since = self._now()
        back = {id: (job, size, since) for id, job, size in jobs}
        self._bytes += sum(size for _, size, _ in back.values())
        self._jobs = back | self._jobs
        self._hold(min(FIRST_RETRY * 2**self._failures, self._longest_retry))
        self._failures += 1

    def release(self) -> None:
        """Let jobs leave at once, whatever was to be waited for."""
        self._not_before = -inf

    def hurry(self, retry: float) -> None:
        """Let jobs leave as soon as they are here, because there is no later.

        Args:
            retry: Seconds to wait after a failure, however many there were.
        """
        self.timeout = self.delay = 0.0
        self._longest_retry = retry
        self.release()

    def _hold(self, seconds: float) -> None:
        if seconds:
            self._not_before = self._now() + seconds * (1 + JITTER * (2 * self._spread() - 1))
