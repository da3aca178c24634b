"""One verdict for all processes, through the cache that ``HEALTH_SHARE`` names.

What is in that cache is never believed about itself: whatever goes wrong with it, or takes too
long, a process runs its own checks.
"""

import atexit
import logging
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from hashlib import sha256
from typing import Any, Final

from django.core.cache import caches

from redis_optimizer.conf import get_settings
from redis_optimizer.core.forks import around_fork
from redis_optimizer.health.base import Check
from redis_optimizer.health.lifetimes import lifetimes
from redis_optimizer.health.packing import pack, unpack
from redis_optimizer.health.report import Report, Status
from redis_optimizer.health.threads import Threads

__all__ = ["Share", "open_share"]

logger = logging.getLogger("redis_optimizer.health")

SKEW: Final = 5.0  # seconds that the clock of another host may be ahead

EXIT_TIME: Final = 0.5  # seconds that an exit waits until the others are told

_threads: Final = Threads()


class Unshared(Exception):
    """The one who was to find out has nothing for the others."""


def open_share(checks: Iterable[Check], clock: Callable[[], float]) -> "Share | None":
    """Return what one run exchanges with other processes, or None where nothing is shared.

    Args:
        checks: What it is about: processes share where the names of their checks are the same.
        clock: Seconds since the epoch.
    """
    settings = get_settings()
    if settings.HEALTH_SHARE is None or not min(_lifetime(status) for status in Status) > 0:
        return None
    names = sorted(check.name for check in checks)
    digest = sha256("\n".join(names).encode()).hexdigest()[:16]
    key = f"redis_optimizer:{settings.NAMESPACE}:health:{digest}"
    return Share(settings.HEALTH_SHARE, key, names, clock)


class Share:
    """What one run exchanges with other processes: it may ask once, and answers once.

    All talk with the cache is in a thread that may hang.

    Args:
        alias: Of the cache.
        key: The key in it.
        names: Of the checks that a report must be about.
        clock: Seconds since the epoch.
    """

    def __init__(self, alias: str, key: str, names: list[str], clock: Callable[[], float]) -> None:
        self._alias = alias
        self._key = key
        self._names = names
        self._clock = clock
        self._answer: Future[Report | None] = Future()
        self._leads = False
        self._found: Report | None = None
        self._is_open = False
        self._heard = threading.Event()

    def ask(self, seconds: float) -> Report | None:
        """Return what another process found out, or is about to.

        Args:
            seconds: To wait for it.

        Returns:
            The report, or None: find out, and `answer`.
        """
        self._open(seconds)
        if self._is_open:
            self._heard.wait(seconds)
        return self._found

    def answer(self, report: Report | None) -> None:
        """Tell the others, without waiting.

        Args:
            report: What was found out; None: nothing that would help them.
        """
        self._answer.set_result(report)
        if not self._is_open and report is not None:
            self._open(1.0, asks=False)

    def _open(self, seconds: float, *, asks: bool = True) -> None:
        now = time.monotonic()
        # A talk that hangs is not followed by another, until it has hung for long.
        _, self._is_open = _threads.take(
            "share", self._talk if asks else self._tell, now, seconds, since=now
        )

    # In the thread

    def _talk(self) -> None:
        try:
            cache = caches[self._alias]
            found = cache.get_or_set(self._key, self._lead, _lifetime(Status.FAILING))
            if not self._leads:
                self._found = self._accepted(found)
            self._heard.set()
            if self._found is None:
                self._tell()
        except Unshared:
            pass
        except Exception as error:
            logger.debug("The verdict is not shared: %r", error)
        finally:
            self._heard.set()

    def _lead(self) -> Any:
        """Have this process find out, for all: they wait until this returns."""
        self._leads = True
        self._heard.set()
        report = self._answer.result()
        if report is None:
            raise Unshared
        return pack(report)

    def _tell(self) -> None:
        report = self._answer.result()
        if report is None:
            return
        cache = caches[self._alias]
        left = report.checked_at + _lifetime(report.status) - self._clock()
        if left <= 0:
            cache.delete(self._key)
        elif not self._leads or not cache.touch(self._key, left):
            cache.set(self._key, pack(report), left)

    def _accepted(self, value: object) -> Report | None:
        report = unpack(value, self._names)
        if report is None:
            return None
        age = self._clock() - report.checked_at
        return report if -SKEW <= age < _lifetime(report.status) else None


def _lifetime(status: Status) -> float:
    """Return how many seconds a shared verdict may be old: as long as nobody finds it too old."""
    return min(lifetimes("health", status).values())


# Else a process that ends at once leaves the others waiting for what it went to find out.
atexit.register(_threads.settle, EXIT_TIME)
around_fork(after_in_child=_threads.reset)
