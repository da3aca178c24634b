"""Trimming the results in the tables of django-celery-results."""

from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from typing import Any, Final

from celery.result import AsyncResult
from django.apps import apps
from django.db import connections, router
from django.db.models import Q, QuerySet
from django.utils import timezone
from django_celery_results.backends import DatabaseBackend
from django_celery_results.models import GroupResult, TaskResult

from redis_optimizer.tasks.prune import Found, Pruning, Report
from redis_optimizer.tasks.results import counts, retention
from redis_optimizer.tasks.results.rows import COUNTED

__all__ = ["has_table", "prune_database"]

UNMARKED_GRACE: Final = timedelta(hours=1)
"""A group that was not saved leaves no trace in the tables of an older deployment: whoever waits
for its results has so long to read them."""


def has_table() -> bool:
    """Return whether the table of results exists."""
    connection = connections[router.db_for_read(TaskResult)]
    return TaskResult._meta.db_table in connection.introspection.table_names()


def prune_database(
    app: Any,
    *,
    task: str | None = None,
    dry_run: bool = False,
    batch_size: int = 500,
    progress: Callable[[Report], None] = lambda report: None,
) -> Report:
    """Delete results that newer ones have replaced.

    Args:
        app: The Celery app.
        task: Only results of this task; None for all.
        dry_run: Change nothing.
        batch_size: How many results are read and deleted at a time.
        progress: Called after each batch, and now and then before the first; what it raises ends
            the run between two.

    Returns:
        What was found, and what becomes of it.

    Raises:
        django.db.Error: the database could not be reached, or refused.
    """
    alias = router.db_for_write(TaskResult)
    report = Report(f"the database {alias!r}")
    going: list[Found] = []
    pruning = Pruning(app, report, going.append, task)
    grouped = _grouped(app, lambda: progress(report))
    rows = TaskResult.objects.using(alias)
    if task is not None:
        rows = rows.filter(task_name=task)
    for batch in _newest_first(rows, batch_size):
        report.seen += len(batch)
        for row in batch:
            pruning.add(_read(row, grouped))
        if going and not dry_run:
            TaskResult.objects.using(alias).filter(pk__in=[found.key for found in going]).delete()
            counts.counter.pruned += len(going)
        going.clear()
        progress(report)
    return report


def _newest_first(rows: QuerySet[TaskResult], size: int) -> Iterator[list[tuple[Any, ...]]]:
    """Yield batches of rows, each by a query of its own: rows go while others are to be read."""
    batch = _first(rows, size)
    while batch:
        yield batch
        pk, *_, done, _meta = batch[-1]
        # A range of the index first: "or" alone would have it walked from the newest each time.
        older = rows.filter(date_done__lte=done).filter(Q(date_done__lt=done) | Q(pk__lt=pk))
        batch = _first(older, size)


def _first(rows: QuerySet[TaskResult], size: int) -> list[tuple[Any, ...]]:
    fields = ("pk", "task_id", "task_name", "status", "date_done", "meta")
    return list(rows.order_by("-date_done", "-pk").values_list(*fields)[:size])


def _read(row: tuple[Any, ...], grouped: set[str]) -> Found:
    key, task_id, task, state, done, meta = row
    meta = meta or ""
    return Found(
        done=done if timezone.is_aware(done) else timezone.make_aware(done),  # USE_TZ = False
        key=key,
        state=state,
        task=task,
        group='"group_id"' in meta or task_id in grouped,
        grace=timedelta(seconds=retention.GRACE) if f'"{COUNTED}"' in meta else UNMARKED_GRACE,
    )


def _grouped(app: Any, tick: Callable[[], None]) -> set[str]:
    """Return the ids of the jobs of groups that are saved and of chords that are under way.

    Each takes a query: ``tick`` is called after it.
    """
    backend = DatabaseBackend(app=app)
    ids: set[str] = set()
    # By name: the stubs that there are for its models do not know it.
    chords: Any = apps.get_app_config(TaskResult._meta.app_label).get_model("ChordCounter")
    for counter in chords.objects.iterator():
        ids.update(_ids(counter.group_result(app=app)))
        tick()
    for group in GroupResult.objects.values_list("group_id", flat=True).iterator():
        ids.update(_ids(backend.restore_group(group, cache=False) or ()))
        tick()
    return ids


def _ids(results: Iterable[Any]) -> Iterator[str]:
    for result in results:
        if isinstance(result, AsyncResult):
            yield result.id
        else:
            yield from _ids(result)
