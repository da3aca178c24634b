"""Jobs of one kind that wait to leave the process together."""

import random
from collections.abc import Callable, Iterable, Iterator
from math import inf
from time import monotonic
from typing import Generic, TypeVar

from redis_optimizer.core.backoff import spread_out

__all__ = ["JobBuffer"]

J = TypeVar("J")


class JobBuffer(Generic[J]):
    """Hold jobs until there are enough of them, or the oldest has waited long enough.

    It starts no thread and takes no lock: who owns it asks `due`, and calls `batch` and `take`.
    After `take` comes either `sent` or `give_back`. Whoever has filled it sees that it `is_full`,
    and sends the jobs or calls `leave`.

    Args:
        size: Jobs that leave together.
        max_bytes: Bytes that leave together; a job that has more leaves alone.
        timeout: Seconds that a job waits at most, while the jobs before it can be sent.
        delay: The least time in seconds between two departures; 0 for none.
        now: The clock, in seconds.
        spread: Returns a number from 0 to 1, for the jitter of the delay.
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
        self._is_expected = False
        self._is_left = False  # never true unless they are full
        self._exempt = 0  # jobs that leave without a delay after those before them

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
        """Tell whether jobs must wait for the delay, however many they are."""
        return self._now() < self._not_before

    @property
    def reason(self) -> str:
        """Return why jobs that leave now do so: "size", "bytes", "asked" or "age"."""
        if len(self._jobs) >= self.size:
            return "size"
        if self._bytes >= self.max_bytes:
            return "bytes"
        return "asked" if self._is_expected else "age"

    @property
    def due(self) -> float:
        """Return the time at which jobs should leave: `inf` without jobs.

        That there are enough of them counts only once they were left here, see `leave`.
        """
        if not self._jobs:
            return inf
        if self._is_expected or self._is_left:
            return self._not_before
        _, _, since = next(iter(self._jobs.values()))
        return max(since + self.timeout, self._not_before)

    def add(self, id: str, job: J, size: int) -> None:
        """Take a job.

        Args:
            id: Its id, which no other job here has.
            job: The job.
            size: Its bytes.
        """
        since = self._now()
        # At once: a signal that came between would leave bytes that nobody has.
        self._jobs[id], self._bytes = (job, size, since), self._bytes + size

    def remove(self, id: str) -> J | None:
        """Take a job out; None when it is not here."""
        job, size, _ = self._jobs.pop(id, (None, 0, 0.0))
        self._bytes -= size
        self._is_left &= self.is_full
        return job

    def batch(self) -> list[tuple[str, J, int]]:
        """Return the jobs that should leave together, the oldest first; they are still here.

        Returns:
            The id, the job and its bytes, for each.
        """
        batch: list[tuple[str, J, int]] = []
        total = 0
        for id, (job, size, _) in self._jobs.items():
            if batch and (len(batch) >= self.size or total + size > self.max_bytes):
                break
            batch.append((id, job, size))
            total += size
        return batch

    def take(self, batch: Iterable[tuple[str, J, int]]) -> None:
        """Take out what `batch` returned.

        Whoever is interrupted here, by the exception of a signal, can still give all of it back.
        """
        for id, _, _ in batch:
            self.remove(id)
            self._exempt = max(self._exempt - 1, 0)
        self._exempt = min(self._exempt, len(self._jobs))
        self._is_expected &= bool(self._jobs)

    def sent(self) -> None:
        """Note that what was taken has left: the next may not leave before the delay is over."""
        if self.delay and not self._exempt:
            self._not_before = self._now() + spread_out(self.delay, self._spread())

    def give_back(self, jobs: Iterable[tuple[str, J, int]]) -> None:
        """Put back what was taken and could not leave, before what has come since: it is due."""
        since = self._now()
        self._jobs = {id: (job, size, since) for id, job, size in jobs} | self._jobs
        self._bytes = sum(size for _, size, _ in self._jobs.values())
        self._is_expected = True

    def expect(self) -> None:
        """Let what is here be due, because somebody waits for it."""
        self._is_expected = bool(self._jobs)

    def leave(self) -> None:
        """Let what is full be due: who has filled it does not send it."""
        self._is_left = self.is_full

    def release(self, *, whole: bool = False) -> None:
        """Do not wait for the delay, this once.

        Args:
            whole: Nor between the departures that it takes for all jobs that are here.
        """
        self._not_before = -inf
        self._exempt = len(self._jobs) if whole else 0

    def hurry(self) -> None:
        """Let jobs leave as soon as they are here, because there is no later."""
        self.timeout = self.delay = 0.0
        self.release()
