"""Daemon threads, one for each piece of work; those that hang are not followed by ever more."""

import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from math import inf
from typing import Any, Final

from django.db import connections

__all__ = ["Job", "Threads"]

RETRY_AFTER: Final = 30.0  # seconds that a thread has hung before another one is tried
MOST_HANGING: Final = 5  # threads that may hang at the same work


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """A piece of work that a thread is at.

    Args:
        began: When, by the clock of whoever asked for it.
        due: When it should have ended.
        future: Will hold what comes of it.
    """

    began: float
    due: float
    future: Future[Any] = field(default_factory=Future)


class Threads:
    """The threads at work, by what they do.

    They are daemons, and not a pool's: a pool's are waited for when the process exits.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget all; for a forked child, which has none of these threads."""
        self._lock = threading.Lock()
        self._jobs: dict[str, list[Job]] = {}

    def settle(self, timeout: float) -> None:
        """Wait until all have ended, or some seconds have passed."""
        with self._lock:
            futures = [job.future for jobs in self._jobs.values() for job in jobs]
        wait(futures, timeout)

    def take(
        self, name: str, work: Callable[[], Any], now: float, limit: float, since: float = -inf
    ) -> tuple[Job, bool]:
        """Begin ``work``, unless what goes by this name is under way.

        Args:
            name: Of the work.
            work: Called without arguments.
            now: The time.
            limit: Seconds that it should take.
            since: A job that began before is not as good as a new one.

        Returns:
            The newest job, and whether this call began it. One that is overdue, or that began
            before ``since``, is returned where no further one may begin.
        """
        with self._lock:
            jobs = [job for job in self._jobs.get(name, ()) if not job.future.done()]
            if jobs:
                newest = jobs[-1]
                is_due = now >= newest.due
                if not is_due and newest.began >= since:
                    return newest, False
                if (is_due and now < newest.began + RETRY_AFTER) or len(jobs) >= MOST_HANGING:
                    return newest, False
            job = Job(now, now + limit)
            self._jobs[name] = [*jobs, job]
        thread = threading.Thread(
            target=_work, args=(work, job.future), name=f"redis_optimizer:{name}", daemon=True
        )
        try:
            thread.start()
        except RuntimeError as error:  # no more threads, or the interpreter is shutting down
            job.future.set_exception(error)
        return job, True


def _work(work: Callable[[], Any], future: Future[Any]) -> None:
    try:
        future.set_result(work())
    except BaseException as error:
        future.set_exception(error)
    finally:
        # Each thread has connections of its own. Whoever waits is not held up by their end.
        with contextlib.suppress(Exception):
            connections.close_all()
