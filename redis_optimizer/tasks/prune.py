"""Trimming the results that an older deployment left in Redis or in the database."""

import heapq
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from redis_optimizer.tasks.results import retention
from redis_optimizer.tasks.results.retention import KINDS, limit_of

__all__ = ["UNKNOWN_AGE", "Found", "Pruning", "Report", "Tally"]

UNKNOWN_AGE: Final = timedelta(days=1)
"""Results whose task nobody knows cannot be counted: they go by age. Celery itself keeps results
for a day unless it is told otherwise."""

UNKNOWN: Final = "(unknown task)"


@dataclass(slots=True)
class Tally:
    """What becomes of the results of one kind of a task."""

    kept: int = 0
    dropped: int = 0


@dataclass(slots=True)
class Report:
    """What was found in one place and what became of it.

    Attributes:
        place: Where the results are, without a password.
        seen: Results that were looked at.
        left: Results that were left alone, by the reason.
        tasks: By task and kind (SUCCESS or FAILURE).
    """

    place: str
    seen: int = 0
    left: Counter[str] = field(default_factory=Counter)
    tasks: dict[str, dict[str, Tally]] = field(default_factory=dict)

    @property
    def dropped(self) -> int:
        """Return how many results go."""
        return sum(tally.dropped for kinds in self.tasks.values() for tally in kinds.values())

    def tally(self, task: str, kind: str) -> Tally:
        """Return what is counted for a kind of a task."""
        return self.tasks.setdefault(task, {}).setdefault(kind, Tally())


@dataclass(frozen=True, slots=True, order=True)
class Found:
    """A result, ordered by when its job was done.

    Attributes:
        done: When; with a time zone.
        key: Of the result in its store.
        state: Of the job.
        task: Its name, if that is known.
        group: The job belongs to a group or a chord.
        grace: It stays until the job was done so long ago.
        lasting: It is not going anyway.
    """

    done: datetime
    key: Any
    state: str = field(compare=False)
    task: str | None = field(compare=False)
    group: bool = field(compare=False)
    grace: timedelta = field(default=timedelta(seconds=retention.GRACE), compare=False)
    lasting: bool = field(default=True, compare=False)


class Pruning:
    """Decide for one result after the other, in any order, which of them go.

    Args:
        app: The Celery app.
        report: Where to count.
        drop: Takes a result that has to go.
        task: Only results of this task; None for all.
    """

    def __init__(
        self, app: Any, report: Report, drop: Callable[[Found], object], task: str | None = None
    ) -> None:
        self._app, self._report, self._drop, self._only = app, report, drop, task
        self._now = datetime.now(UTC)
        self._newest: dict[tuple[str, str], list[Found]] = {}

    def add(self, found: Found) -> None:
        """Count a result in, and drop one that newer ones have replaced."""
        kind = KINDS.get(found.state)
        age = self._now - found.done
        if self._only not in (None, found.task):
            self._report.left["of another task"] += 1
        elif kind is None:
            self._report.left["not finished"] += 1
        elif found.group:
            self._report.left["of a group or chord"] += 1
        elif found.task is None:
            if age > UNKNOWN_AGE:
                self._let_go(found, UNKNOWN, kind)
            else:
                self._report.left["of an unknown task, not a day old"] += 1
        else:
            self._count(found, found.task, kind)

    def _count(self, found: Found, task: str, kind: str) -> None:
        limit = limit_of(self._app, task, kind)
        newest = self._newest.setdefault((task, kind), [])
        if found in newest:  # SCAN may return a key twice
            return
        self._report.tally(task, kind).kept += 1
        if not limit:
            return
        heapq.heappush(newest, found)
        if len(newest) > limit:
            oldest = heapq.heappop(newest)
            self._report.tally(task, kind).kept -= 1
            self._let_go(oldest, task, kind)

    def _let_go(self, found: Found, task: str, kind: str) -> None:
        if self._now - found.done < found.grace:
            self._report.left["finished lately"] += 1
        elif not found.lasting:
            self._report.left["going already"] += 1
        else:
            self._drop(found)
            self._report.tally(task, kind).dropped += 1
