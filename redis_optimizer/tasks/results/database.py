"""django-celery-results that keeps the last few results of each task."""

import contextlib
import logging
from collections.abc import Iterable
from traceback import format_exc
from typing import TYPE_CHECKING, Any

from celery import states
from django.db import Error, router, transaction
from django_celery_results.models import TaskResult

from redis_optimizer.core.limits import pass_time_limit
from redis_optimizer.switches import is_on
from redis_optimizer.tasks.celery_internals import extend_rows
from redis_optimizer.tasks.results.counts import counter
from redis_optimizer.tasks.results.retention import retention_of
from redis_optimizer.tasks.results.rows import COUNTED, Trimmer

if TYPE_CHECKING:
    from celery.backends.base import BaseBackend as CeleryDatabaseBackend
else:
    from django_celery_results.backends import DatabaseBackend as CeleryDatabaseBackend

__all__ = ["DatabaseBackend"]

logger = logging.getLogger(__name__)


class DatabaseBackend(CeleryDatabaseBackend):
    """Keep the last few results of each task in the database.

    Older ones are deleted a grace of 60 s after they were stored, by the processes that store: when
    they store a result or have run a job of any task, at most every 15 s for a task. That costs two
    SELECTs, and a DELETE where there is something to delete. What was left when all went quiet goes
    with the next job, or with ``celery.backend_cleanup``.

    Results of groups and chords are left alone. The name of the task is stored with or without
    ``result_extended``. Results that are not stored as text (``result_serializer`` pickle or
    msgpack) all last for ``result_expires``.
    """

    app: Any
    TaskModel: type[TaskResult]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._trimmer = Trimmer(self.TaskModel)
        extend_rows(self, _name)

    def store_result(
        self,
        task_id: str,
        result: Any,
        state: str,
        traceback: str | None = None,
        request: Any = None,
        **kwargs: Any,
    ) -> Any:
        """Store a result, and let go of older ones of its task when it is time.

        Args and Returns as in Celery.
        """
        if not is_on("results"):
            return super().store_result(task_id, result, state, traceback, request, **kwargs)
        retention = retention_of(self.app, state, request)
        _mark(request, counted=retention is not None)
        stored = super().store_result(task_id, result, state, traceback, request, **kwargs)
        counter.stored += 1
        if retention is not None:
            self._trimmer.note(retention)
        self._trim()
        return stored

    def store_many(
        self, outcomes: Iterable[tuple[str, Any, str, str | None, Any]]
    ) -> dict[str, Exception]:
        """Store the results of many jobs.

        A result that cannot be stored is stored as the failure of its job, if that can be; the
        others are stored all the same. A chord must be told of its parts as ever: this stores
        them, no more.

        Args:
            outcomes: ``(task_id, result, state, traceback, request)`` of each job.

        Returns:
            The errors of the results that could not be stored, by task id.
        """
        errors: dict[str, Exception] = {}
        for task_id, result, state, traceback, request in outcomes:
            try:
                self._store_apart(task_id, result, state, traceback, request)
            except Exception as error:
                pass_time_limit(error)
                errors[task_id] = error
                if state in states.READY_STATES:
                    with contextlib.suppress(Exception):  # as likely as not: the database is away
                        self._store_apart(task_id, error, states.FAILURE, format_exc(), request)
        return errors

    def process_cleanup(self) -> None:
        """Let go of older results when it is time. Celery calls this after each job."""
        super().process_cleanup()
        if is_on("results"):
            self._trim()

    def cleanup(self) -> None:
        """Delete what is older than ``result_expires``, and what any process has left."""
        super().cleanup()
        if is_on("results"):
            self._trimmer.run_all(self.app)

    def _store_apart(self, *outcome: Any) -> None:
        """Store a result so that, if that fails, the next can be stored."""
        connection = transaction.get_connection(router.db_for_write(self.TaskModel))
        if not connection.in_atomic_block:
            try:
                self.store_result(*outcome)
            except Exception:
                connection.close_if_unusable_or_obsolete()  # as Django's does after each job
                raise
            return
        with transaction.atomic(connection.alias):  # a statement that fails breaks a transaction
            self.store_result(*outcome)

    def _trim(self) -> None:
        try:
            self._trimmer.run()
        except Error:
            # The result is stored; that others are there for longer harms nobody.
            logger.warning("Older results could not be deleted.", exc_info=True)


def _name(row: dict[str, Any], request: Any) -> None:
    """Add the name of the task, by which rows are counted."""
    if is_on("results") and row["task_name"] is None:
        row["task_name"] = getattr(request, "task", None)


def _mark(request: Any, *, counted: bool) -> None:
    """Say in the row's ``meta`` what it is. As in Redis, a member of a group names its group."""
    if request is None:
        return
    meta = {**getattr(request, "meta", {})}
    meta.pop(COUNTED, None)
    if counted:
        meta[COUNTED] = True
    if group := getattr(request, "group", None):
        meta["group_id"] = group
    with contextlib.suppress(AttributeError):  # a request of the site's own making
        request.meta = meta
