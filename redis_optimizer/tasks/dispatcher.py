"""Hand several jobs of a task to the pool as one call."""

import logging
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from celery import Celery, signals
from celery.utils.imports import symbol_by_name
from celery.worker.request import create_request_cls  # type: ignore[attr-defined]  # not in stubs
from celery.worker.state import revoked, task_reserved

from redis_optimizer.tasks.bulk_request import BulkRequest
from redis_optimizer.tasks.celery_internals import receivers_of
from redis_optimizer.tasks.exhausted import settling
from redis_optimizer.tasks.feed import Feed
from redis_optimizer.tasks.kinds import DEDUP_HEADER
from redis_optimizer.tasks.opened import JobMessage, Unit

__all__ = ["Dispatcher", "Guard"]

logger = logging.getLogger(__name__)

Guard = Callable[[JobMessage, Callable[[JobMessage], Any]], Any]

ASKED_ABOUT: Final = ("expires", "stamped_headers", DEDUP_HEADER)
"""Headers of jobs that Celery, or we, will ask about by their requests."""

UNCONCERNED: Final = frozenset(
    {
        "redis_optimizer.tasks.ends",  # it looks at jobs with the last of them alone
        "redis_optimizer.tasks.exhausted",  # our requests are what it makes of others
    }
)


class Dispatcher:
    """What a consumer starts calls with.

    Args:
        app: The worker's.
        consumer: Celery's.
        feed: Where the jobs come from.
        guard: Does something with a job, and handles what that raises.
    """

    def __init__(self, app: Celery, consumer: Any, feed: Feed, guard: Guard) -> None:
        self._app = app
        self._consumer = consumer
        self._feed = feed
        self._guard = guard
        self._classes: dict[str, Any] = {}

    def start(self, unit: Unit) -> None:
        """Hand the jobs of a unit to the pool as one call."""
        made: dict[int, Any] = {}
        indexes = []
        is_told = self._sends_events() or any(
            getattr(receiver, "__module__", None) not in UNCONCERNED
            for receiver in receivers_of(signals.task_received)
        )
        for index in unit.indexes:
            if is_told or self._is_asked_about(unit, index):
                request = self._make(unit, index, self._receive)
                if request is None:
                    continue
                made[index] = request
            indexes.append(index)
        if not indexes:
            return
        name, count = unit.task, len(indexes)
        if count > 1 and logger.isEnabledFor(logging.INFO):
            ids = ", ".join(map(unit.envelope.jobs.id, indexes))
            logger.info("Task %s: %d jobs received, to run in one call: %s", name, count, ids)
        try:
            self._hand_over(unit, indexes, made)
        except Exception:
            logger.exception("A call of task %s with %d jobs failed to start", name, count)
            for request in made.values():
                request.reject(requeue=True)
            if rest := [index for index in indexes if index not in made]:
                self._feed.send_again(unit, rest)

    def _is_asked_about(self, unit: Unit, index: int) -> bool:
        jobs = unit.envelope.jobs
        return jobs.id(index) in revoked or any(jobs.header(index, name) for name in ASKED_ABOUT)

    def _make(self, unit: Unit, index: int, make: Callable[[JobMessage], Any]) -> Any:
        job = JobMessage(unit, index, self._feed.finish, self._feed.requeue)
        return self._guard(job, make)

    def _request(self, job: JobMessage) -> Any:
        """Make Celery's request of a job."""
        consumer = self._consumer
        task = self._app.tasks[job.source.task]
        return self._class(task)(
            job,
            on_ack=job.ack_log_error,
            on_reject=job.reject_log_error,
            app=self._app,
            hostname=consumer.hostname,
            eventer=self._eventer(),
            task=task,
            connection_errors=consumer.connection_errors,
            body=job.body,
            headers=job.headers,
        )

    def _receive(self, job: JobMessage) -> Any:
        """Do what Celery's own strategy does before it hands a job over."""
        request = self._request(job)
        if (request.expires or request.stamped_headers or request.id in revoked) and (
            request.revoked()
        ):
            return None
        signals.task_received.send(sender=self._consumer, request=request)
        request.send_event(
            "task-received",
            name=request.name,
            args=request.argsrepr,
            kwargs=request.kwargsrepr,
            root_id=request.root_id,
            parent_id=request.parent_id,
            retries=request.request_dict.get("retries", 0),
            eta=None,  # such a job is not in an envelope
            expires=request.expires and request.expires.isoformat(),
        )
        return request

    def _hand_over(self, unit: Unit, indexes: list[int], made: dict[int, Any]) -> None:
        consumer = self._consumer
        call = BulkRequest(
            unit,
            indexes,
            made,
            make=partial(self._make, make=self._request),
            feed=self._feed,
            events=self._sends_events(),
            app=self._app,
            task=self._app.tasks[unit.task],
            hostname=consumer.hostname,
            connection_errors=consumer.connection_errors,
        )
        task_reserved(call)
        consumer.on_task_request(call)

    def _eventer(self) -> Any:
        eventer = self._consumer.event_dispatcher
        return eventer if eventer and eventer.enabled else None

    def _sends_events(self) -> bool:
        """Return whether anybody is told of jobs: of workers everybody is, without ``-E``, too."""
        eventer = self._eventer()
        return bool(eventer and (not eventer.groups or "task" in eventer.groups))

    def _class(self, task: Any) -> Any:
        made = self._classes.get(task.name)
        if made is None:
            consumer = self._consumer
            kind = create_request_cls(
                symbol_by_name(task.Request),
                task,
                consumer.pool,
                consumer.hostname,
                self._eventer(),
                app=self._app,
            )
            made = self._classes[task.name] = settling(kind)
        return made
