"""Daemon threads, one for each piece of work; those that hang are followed by fewer and fewer."""

import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from math import inf
from typing import Any, Final

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

__all__ = ["Job", "Threads", "close_connections"]

RETRY_AFTER: Final = 30.0  # seconds until another thread is tried; twice as long for each further
MOST_AT_ONCE: Final = 5  # threads at the same work, where a newer one is wanted before one is due


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
                if now >= newest.due:
                    # Never given up for good: a host that died without a word leaves threads that
                    # wait for hours, and its successor answers a new one. A day makes a dozen.
                    goes_on = now >= newest.began + RETRY_AFTER * 2 ** (len(jobs) - 1)
                else:
                    goes_on = newest.began < since and len(jobs) < MOST_AT_ONCE
                if not goes_on:
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
            close_connections()


def close_connections() -> None:
    """Close the connections that this thread has to databases.

    SQLite's backend keeps one to a database in memory, as of a test run, which would be gone with
    its last connection. This thread's is not the last: whoever made the database has another.
    """
    connections.close_all()
    for connection in connections.all(initialized_only=True):
        BaseDatabaseWrapper.close(connection)
