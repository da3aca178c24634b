"""What one request cost: counted only while somebody measures it."""

import contextlib
import threading
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Final

__all__ = ["Costs", "current", "measuring"]


@dataclass(slots=True)
class Costs:
    """What was done for one request. Threads that work for it may add at the same time."""

    hits: int = 0
    """Reads of a cache that were answered in the process."""

    trips: int = 0
    """Calls of a cache that went to Redis."""

    seconds: float = 0.0
    """How long those took, together."""

    checks: int = 0
    """Health checks that were run."""

    check_seconds: float = 0.0
    """How long those took."""

    jobs: int = 0
    """Jobs that were called for and wait for others, or waited until they were sent."""

    outer: "Costs | None" = None
    """What these costs are a part of: what is added here is added there, too."""

    by_store: "dict[Any, Costs] | None" = None
    """The same for each store of a cache; None unless somebody wants to know."""

    caches: list[Any] = field(default_factory=list, repr=False, compare=False)
    """Caches that count for it until it is done."""

    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def add_hit(self, store: Any = None) -> None:
        """Add a read that was answered in the process.

        Args:
            store: Which store had it.
        """
        with self._lock:
            self.hits += 1
            if self.by_store is not None:
                self._of(store).hits += 1
        if self.outer is not None:
            self.outer.add_hit(store)

    def add_trip(self, seconds: float, store: Any = None) -> None:
        """Add a call that went to Redis.

        Args:
            seconds: How long it took.
            store: That of the cache.
        """
        with self._lock:
            self.trips += 1
            self.seconds += seconds
            if self.by_store is not None:
                costs = self._of(store)
                costs.trips += 1
                costs.seconds += seconds
        if self.outer is not None:
            self.outer.add_trip(seconds, store)

    def add_job(self) -> None:
        """Add a job that was called for, and waits for others."""
        with self._lock:
            self.jobs += 1
        if self.outer is not None:
            self.outer.add_job()

    def add_checks(self, count: int, seconds: float) -> None:
        """Add health checks that were run for this request.

        Args:
            count: How many.
            seconds: How long they took; they run side by side.
        """
        with self._lock:
            self.checks += count
            self.check_seconds += seconds
        if self.outer is not None:
            self.outer.add_checks(count, seconds)

    def _of(self, store: Any) -> "Costs":
        assert self.by_store is not None  # noqa: S101  # asked before
        return self.by_store.setdefault(store, Costs())


_current: ContextVar[Costs | None] = ContextVar("redis_optimizer.costs", default=None)


current: Final[Callable[[], Costs | None]] = _current.get
"""Return the costs of the request that is served here; None unless it is measured."""


class measuring:  # noqa: N801  # read as a verb, after `with`
    """Let what is done inside be added to ``costs``."""

    # Not made by contextlib: that would double the time it takes.
    __slots__ = ("_costs", "_token")

    def __init__(self, costs: Costs) -> None:
        self._costs = costs

    def __enter__(self) -> None:
        self._token = _current.set(self._costs)

    def __exit__(self, *exception: object) -> None:
        with contextlib.suppress(ValueError):  # a coroutine that nobody awaited to its end
            _current.reset(self._token)
