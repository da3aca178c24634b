"""A call with several jobs, in the worker's main process.

Celery makes a request of each job it receives. Of most of these it would learn nothing but that
they have succeeded: a request is made of those that something asks about.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Any
from weakref import ref

from celery.exceptions import TaskRevokedError, TimeLimitExceeded
from celery.worker import request as requests
from celery.worker.state import all_total_count, revoked, task_ready, total_count
from celery.worker.state import requests as known_requests
from kombu.utils.uuid import uuid

from redis_optimizer.tasks.call import NEVER_RAN, NOT_BEGUN, UNREADABLE, run_call
from redis_optimizer.tasks.feed import Feed
from redis_optimizer.tasks.opened import Unit
from redis_optimizer.tasks.parts import About

__all__ = ["BulkRequest"]

logger = logging.getLogger(__name__)


class BulkRequest(requests.Request):
    """What the pool sees of a call: one request, for all of its jobs.

    A child that is lost, or killed at its time limit, may have done any of the jobs. Where they
    are acknowledged late each is sent again, alone: then the one that did it harms only itself.

    Args:
        unit: The jobs.
        indexes: Those that are to run.
        made: The requests that have been made of them.
        make: Makes a job's request; None where that cannot be done, which was told of.
        feed: Where they come from.
        events: Somebody is to be told of each job.
        options: What Celery's takes.
    """

    def __init__(
        self,
        unit: Unit,
        indexes: Sequence[int],
        made: dict[int, Any],
        make: Callable[[Unit, int], Any],
        feed: Feed,
        events: bool,
        **options: Any,
    ) -> None:
        jobs = unit.envelope.jobs
        headers: Any = {
            "id": uuid(),  # nobody has heard of it: it has no events of its own
            "task": unit.task,
            "timelimit": jobs[indexes[0]].headers.get("timelimit"),
            "argsrepr": f"({len(indexes)} jobs)",
        }
        super().__init__(
            unit.envelope.message, headers=headers, body=((), {}, {}), decoded=True, **options
        )
        self._unit, self._feed, self._make, self._events = unit, feed, make, events
        self._indexes, self._made = list(indexes), made
        self._ids = [jobs.id(index) for index in indexes]
        self._is_together = len(indexes) > 1
        self._is_acknowledged = False
        self._is_cancelled = False
        self._is_sent_again = False
        self._result: ref[Any] | None = None
        # Whoever has Celery terminate one of the jobs finds the call.
        known_requests.update(dict.fromkeys(self._ids, self))

    def revoked(self) -> bool:
        """Drop the jobs that are revoked or expired; return whether none is left."""
        for index in list(self._indexes):
            if self._made.get(index) or self._unit.envelope.jobs.id(index) in revoked:
                request = self._request(index)
                if request is None or request.revoked():
                    self._indexes.remove(index)
        return not self._indexes

    def execute_using_pool(self, pool: Any, **kwargs: Any) -> Any:
        """Have a child run the jobs, those that are revoked by now excepted.

        Raises:
            celery.exceptions.TaskRevokedError: none is left.
        """
        if self.revoked():
            self._end()
            raise TaskRevokedError(self.id)
        self._is_together = len(self._indexes) > 1
        limit, soft_limit = self.time_limits
        message = self._unit.envelope.message
        places = range(len(self._indexes))
        given = {place: _given(self._made.get(self._indexes[place])) for place in places}
        about = About(
            self.hostname,
            message.delivery_tag,
            message.properties.get("body_encoding"),
            self._events,
        )
        result = pool.apply_async(
            run_call,
            args=(
                self.task.name,
                self._unit.envelope.jobs.pick(self._indexes),
                {place: request for place, request in given.items() if request},
                about,
            ),
            accept_callback=self.on_accepted,
            timeout_callback=self.on_timeout,
            callback=self.on_success,
            error_callback=self.on_failure,
            soft_timeout=soft_limit or self.task.soft_time_limit,
            timeout=limit or self.task.time_limit,
            correlation_id=self.id,
        )
        self._result = ref(result) if result is not None else None
        return result

    def on_accepted(self, pid: Any, time_accepted: Any) -> None:
        """Note that a child runs them."""
        super().on_accepted(pid, time_accepted)  # it counts one
        total_count[self.task.name] += len(self._indexes) - 1
        all_total_count[0] += len(self._indexes) - 1
        for member in self._made.values():
            member.worker_pid, member.time_start = pid, self.time_start
            member.send_event("task-started")
        if not self.task.acks_late:
            self._settle(self._indexes)
            self._is_acknowledged = True

    def on_success(self, failed__retval__runtime: Any, **kwargs: Any) -> None:
        """Settle each job by its outcome; those without one have succeeded."""
        self._end()
        outcomes = {self._indexes[place]: each for place, each in failed__retval__runtime.items()}
        self._settle([index for index in self._indexes if index not in outcomes])
        put_back = []
        for index, outcome in outcomes.items():
            if outcome == NOT_BEGUN:
                put_back.append(index)
            elif outcome != UNREADABLE and outcome[0] == NEVER_RAN:
                self._tell(index, "on_failure", outcome[1])
            elif outcome != UNREADABLE:
                self._tell(index, "on_success", outcome)
            elif self._request(index):  # readable here: alone it meets what it would have met
                self._tell(index, "reject", requeue=True)
        if put_back:
            self._feed.put_back(self._unit, put_back)

    def on_failure(
        self, exc_info: Any, send_failed_event: bool = True, return_ok: bool = False
    ) -> None:
        """Send the jobs again singly, or let Celery do for each what it does for one alone."""
        self._end()
        if self._is_cancelled:  # by a worker that stops, or lost its broker: they come again
            return
        if self._is_together and self.task.acks_late:
            self._send_again(exc_info.exception)
        else:
            for index in self._indexes:
                self._tell(index, "on_failure", exc_info)

    def on_timeout(self, soft: bool, timeout: float) -> None:
        """Note that a time limit was exceeded; after a hard one `on_failure` was called, too.

        But by a pool of greenlets, which ends one and says so here alone.
        """
        if not soft:
            self._end()
            was_told = self._is_sent_again or self._is_cancelled
            if self._is_together and self.task.acks_late and not was_told:
                self._send_again(TimeLimitExceeded(timeout))
        if not self._is_together or not (soft or self._is_sent_again):
            for index in self._indexes:
                self._tell(index, "on_timeout", soft, timeout)
            return
        logger.warning(
            "%s time limit (%ss) exceeded for a call of task %s with %d jobs",
            "Soft" if soft else "Hard",
            timeout,
            self.task.name,
            len(self._indexes),
        )

    def terminate(self, pool: Any, signal: Any = None) -> None:
        """End the call, as one of its jobs was revoked: the others are sent again."""
        if not self.time_start:
            super().terminate(pool, signal)  # it is to come here again when it has begun
        elif self.task.acks_late or not self._is_together:
            pool.terminate_job(self.worker_pid, signal)
            self._expect_end(signal)

    def cancel(self, pool: Any, signal: Any = None, emit_retry: bool = True) -> None:
        """End the call; nobody is to be told of a retry of it."""
        self._is_cancelled = True
        super().cancel(pool, signal, emit_retry=False)
        self._expect_end(signal)

    def _send_again(self, reason: BaseException) -> None:
        """Have each job run alone: one of them broke off the call."""
        logger.error(
            "A call of task %s with %d jobs broke off, which are sent again singly: %r",
            self.task.name,
            len(self._indexes),
            reason,
        )
        self._is_sent_again = True
        self.revoked()  # as those are for which it was terminated
        for index in [index for index in self._indexes if index in self._made]:
            self._tell(index, "reject", requeue=True)
        if rest := [index for index in self._indexes if index not in self._made]:
            self._feed.send_again(self._unit, rest)

    def _expect_end(self, signal: Any) -> None:
        """Have the pool report the end of the child as one that was asked for."""
        if self._result and (result := self._result()):
            result.terminate(signal)

    def _end(self) -> None:
        task_ready(self)
        for identity in self._ids:
            known_requests.pop(identity, None)

    def _settle(self, indexes: Sequence[int]) -> None:
        """Acknowledge jobs: what their requests would do, and no more, for they were in no set."""
        if self._is_acknowledged:
            return
        for index in indexes:
            if index in self._made:
                self._tell(index, "acknowledge")
        if rest := [index for index in indexes if index not in self._made]:
            self._feed.settle(self._unit, rest)

    def _request(self, index: int) -> Any:
        """Return the request of a job, None where there can be none."""
        if index not in self._made:
            request = self._make(self._unit, index)
            if request is not None:
                request.worker_pid, request.time_start = self.worker_pid, self.time_start
                request.acknowledged = self._is_acknowledged
                self._made[index] = request
        return self._made.get(index)

    def _tell(self, index: int, what: str, *args: Any, **kwargs: Any) -> None:
        try:
            if request := self._request(index):
                getattr(request, what)(*args, **kwargs)
        except Exception:
            logger.exception("A job of task %s could not be settled", self.task.name)


def _given(request: Any) -> dict[str, Any] | None:
    """Return what the tracer gets of a job whose body was decoded to make its request."""
    if request is None:
        return None
    given: dict[str, Any] = request.request_dict
    given.update({"is_eager": False}, **request.message.payload[2] or {})
    return given
