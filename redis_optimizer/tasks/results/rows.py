"""Rows of django-celery-results: deleting those that newer ones have replaced."""

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final

from django.db import router, transaction
from django.db.models import Model, QuerySet
from django.utils import timezone

from redis_optimizer.tasks.results import retention
from redis_optimizer.tasks.results.counts import counter
from redis_optimizer.tasks.results.retention import KINDS, Retention, limit_of

__all__ = ["COUNTED", "Trimmer", "select_results"]

COUNTED: Final = "redis_optimizer"
"""In the ``meta`` of a row: it was counted when it was stored. Rows of an older deployment may
belong to a group that somebody waits for, and say nothing of it."""

MAX_ROWS: Final = 1000  # deleted by one statement
PAUSE: Final = 15  # seconds between two looks for older results of one task

Rows = QuerySet[Any]


def select_results(model: type[Model], kind: str) -> Rows:
    """Return the rows of final results, on the database that is written.

    Args:
        model: The model of results.
        kind: SUCCESS or FAILURE.
    """
    counted = [state for state, its in KINDS.items() if its == kind]
    return model._default_manager.using(router.db_for_write(model)).filter(status__in=counted)


class Trimmer:
    """What one process has stored, and what it has to let go of.

    Args:
        model: The model of results.
        now: The clock, in seconds.
    """

    def __init__(self, model: type[Model], now: Callable[[], float] = time.monotonic) -> None:
        self._model, self._now = model, now
        self._stored: dict[Retention, float] = {}  # when the last result was stored
        self._due: dict[Retention, float] = {}

    def note(self, stored: Retention) -> None:
        """Remember that a result was stored."""
        self._stored[stored] = self._now()

    def run(self) -> None:
        """Delete what is due, unless a transaction is open: it may be rolled back."""
        if not self._stored:
            return
        now = self._now()
        due = [each for each in list(self._stored) if self._due.get(each, now) <= now]
        if not due or transaction.get_connection(self._database).in_atomic_block:
            return
        for counted in due:
            last = self._stored.get(counted, now)
            self._due[counted] = now + PAUSE
            if not self._delete(counted) and now - last > retention.GRACE:
                self._stored.pop(counted, None)

    def run_all(self, app: Any) -> None:
        """Delete what any process has left."""
        for kind in sorted(set(KINDS.values())):
            tasks = self._counted(kind).order_by().values_list("task_name", flat=True).distinct()
            for task in list(tasks):
                limit = limit_of(app, task, kind)
                while limit and self._delete(Retention(task, kind, limit)):
                    pass

    @property
    def _database(self) -> str:
        return router.db_for_write(self._model)

    def _counted(self, kind: str) -> Rows:
        return select_results(self._model, kind).filter(meta__contains=f'"{COUNTED}"')

    def _delete(self, counted: Retention) -> bool:
        """Delete up to `MAX_ROWS` rows; return whether there may be more."""
        rows = self._counted(counted.kind).filter(task_name=counted.task)
        # Two queries: MySQL has no LIMIT in a subquery of IN.
        newest = rows.order_by("-date_done", "-pk").values_list("pk", flat=True)[: counted.limit]
        grace = timezone.now() - timedelta(seconds=retention.GRACE)
        older = rows.filter(date_done__lt=grace).exclude(pk__in=list(newest)).order_by("date_done")
        found = list(older.values_list("pk", flat=True)[:MAX_ROWS])
        if found:
            self._model._default_manager.using(self._database).filter(pk__in=found).delete()
            counter.pruned += len(found)
        return len(found) == MAX_ROWS
