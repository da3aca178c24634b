"""A call with several jobs, in the worker's main process."""

import logging
from collections.abc import Callable, Sequence
from typing import Any

from celery import Celery, signals
from celery.exceptions import TaskRevokedError
from celery.utils.imports import symbol_by_name
from celery.worker import request as requests
from celery.worker.state import revoked, task_ready, task_reserved
from kombu.utils.uuid import uuid

from redis_optimizer.tasks.bulk import run_bulk
from redis_optimizer.tasks.opened import JobMessage

__all__ = ["BulkRequest", "Dispatcher"]

logger = logging.getLogger(__name__)

Guard = Callable[[JobMessage, Callable[[JobMessage], Any]], Any]


class BulkRequest(requests.Request):
    """What the pool sees of a call: one request, whose jobs have requests of their own.

    A child that is lost, or killed at its time limit, may have done any of the jobs. Where they
    are acknowledged late each is sent again, alone: then the one that did it harms only itself.

    Args:
        members: The jobs' requests.
        options: What Celery's takes.
    """

    def __init__(self, members: Sequence[Any], **options: Any) -> None:
        first = members[0]
        # No events of its own: nobody has heard of its id.
        super().__init__(
            first.message,
            headers=first.request_dict | {"id": uuid()},
            body=first.body,
            task=first.task,
            **options,
        )
        self.members = list(members)
        self._is_cancelled = False
        self._is_sent_again = False

    def revoked(self) -> bool:
        """Drop the jobs that are revoked or expired; return whether none is left."""
        self.members = [member for member in self.members if not member.revoked()]
        return not self.members

    def execute_using_pool(self, pool: Any, **kwargs: Any) -> Any:
        """Have a child run the jobs, those that are revoked by now excepted.

        Raises:
            celery.exceptions.TaskRevokedError: none is left.
        """
        if self.revoked():
            task_ready(self)
            raise TaskRevokedError(self.id)
        limit, soft_limit = self.time_limits
        return pool.apply_async(
            run_bulk,
            args=(self.task.name, [_request_of(member) for member in self.members]),
            accept_callback=self.on_accepted,
            timeout_callback=self.on_timeout,
            callback=self.on_success,
            error_callback=self.on_failure,
            soft_timeout=soft_limit or self.task.soft_time_limit,
            timeout=limit or self.task.time_limit,
            correlation_id=self.id,
        )

    def on_accepted(self, pid: Any, time_accepted: Any) -> None:
        """Note that a child runs them."""
        super().on_accepted(pid, time_accepted)
        for member in self.members:
            member.worker_pid, member.time_start = pid, self.time_start
            if not member.task.acks_late:
                member.acknowledge()
            member.send_event("task-started")

    def on_success(self, failed__retval__runtime: Any, **kwargs: Any) -> None:
        """Settle each job by its outcome."""
        task_ready(self)
        for member, outcome in zip(self.members, failed__retval__runtime, strict=True):
            if outcome[0] or member.eventer:
                self._tell(member.on_success, outcome)
            elif member.task.acks_late:  # what it would do, and no more: it was in no set
                self._tell(member.acknowledge)

    def on_failure(
        self, exc_info: Any, send_failed_event: bool = True, return_ok: bool = False
    ) -> None:
        """Send the jobs again singly, or let Celery do for each what it does for one alone."""
        task_ready(self)
        if self._is_cancelled:  # by a worker that stops, or lost its broker: they come again
            return
        if self.task.acks_late and len(self.members) > 1:
            logger.error(
                "A call of task %s with %d jobs broke off, which are sent again singly: %r",
                self.task.name,
                len(self.members),
                exc_info.exception,
            )
            self._is_sent_again = True
            for member in self.members:
                self._tell(member.reject, requeue=True)
        else:
            for member in self.members:
                self._tell(member.on_failure, exc_info)

    def on_timeout(self, soft: bool, timeout: float) -> None:
        """Note that a time limit was exceeded; after a hard one `on_failure` was called, too."""
        if len(self.members) == 1 or not (soft or self._is_sent_again):
            for member in self.members:
                self._tell(member.on_timeout, soft, timeout)
            return
        logger.warning(
            "%s time limit (%ss) exceeded for a call of task %s with %d jobs",
            "Soft" if soft else "Hard",
            timeout,
            self.task.name,
            len(self.members),
        )

    def cancel(self, pool: Any, signal: Any = None, emit_retry: bool = True) -> None:
        """End the call; nobody is to be told of a retry of it."""
        self._is_cancelled = True
        super().cancel(pool, signal, emit_retry=False)

    def _tell(self, report: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        try:
            report(*args, **kwargs)
        except Exception:
            logger.exception("A job of task %s could not be settled", self.task.name)


def _request_of(member: Any) -> dict[str, Any]:
    """Return what the tracer gets. The body was decoded to make the request: it is not needed."""
    request: dict[str, Any] = member.request_dict
    request.update({"is_eager": False}, **member.message.payload[2] or {})
    return request


class Dispatcher:
    """What a consumer starts calls with.

    Args:
        app: The worker's.
        consumer: Celery's.
    """

    def __init__(self, app: Celery, consumer: Any) -> None:
        self._app = app
        self._consumer = consumer
        self._classes: dict[str, Any] = {}

    def start(self, name: str, jobs: Sequence[JobMessage], guard: Guard) -> None:
        """Hand jobs of one task to the pool as one call.

        Args:
            name: The task.
            jobs: Its jobs.
            guard: Does something with a job, and handles what that raises.
        """
        members = [guard(job, self._receive) for job in jobs]
        members = [member for member in members if member is not None]
        if not members:
            return
        if len(members) > 1:
            logger.info("Task %s: %d jobs received, to run in one call", name, len(members))
        try:
            self._hand_over(members)
        except Exception:
            logger.exception("A call of task %s with %d jobs failed to start", name, len(members))
            for member in members:
                member.reject(requeue=True)

    def _receive(self, job: JobMessage) -> Any:
        """Do what Celery's own strategy does before it hands a job over."""
        consumer = self._consumer
        eventer = self._eventer()
        task = self._app.tasks[job.source.task]
        request = self._class(task)(
            job,
            on_ack=job.ack_log_error,
            on_reject=job.reject_log_error,
            app=self._app,
            hostname=consumer.hostname,
            eventer=eventer,
            task=task,
            connection_errors=consumer.connection_errors,
            body=job.body,
            headers=job.headers,
        )
        if (request.expires or request.stamped_headers or request.id in revoked) and (
            request.revoked()
        ):
            return None
        if signals.task_received.receivers:
            signals.task_received.send(sender=consumer, request=request)
        if eventer:
            request.send_event(
                "task-received",
                name=request.name,
                args=request.argsrepr,
                kwargs=request.kwargsrepr,
                root_id=request.root_id,
                parent_id=request.parent_id,
                retries=request.request_dict.get("retries", 0),
                expires=request.expires and request.expires.isoformat(),
            )
        return request

    def _hand_over(self, members: Sequence[Any]) -> None:
        consumer = self._consumer
        call = BulkRequest(
            members,
            app=self._app,
            hostname=consumer.hostname,
            connection_errors=consumer.connection_errors,
        )
        task_reserved(call)
        consumer.on_task_request(call)

    def _eventer(self) -> Any:
        eventer = self._consumer.event_dispatcher
        return eventer if eventer and eventer.enabled else None

    def _class(self, task: Any) -> Any:
        made = self._classes.get(task.name)
        if made is None:
            consumer = self._consumer
            make: Any = requests.create_request_cls  # type: ignore[attr-defined]  # not in stubs
            made = self._classes[task.name] = make(
                symbol_by_name(task.Request),
                task,
                consumer.pool,
                consumer.hostname,
                self._eventer(),
                app=self._app,
            )
        return made
