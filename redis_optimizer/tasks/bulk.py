"""The jobs that one call of a task's function gets, each with an outcome of its own."""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Self

from celery import Task
from celery.app.task import Context
from celery.exceptions import Reject, SoftTimeLimitExceeded

__all__ = ["Call", "Job", "call_with", "run_one", "runs_together"]

logger = logging.getLogger(__name__)

DONE: Final = "done"
FAILED: Final = "failed"
RETRY: Final = "retry"


class Job:
    """One of the jobs that a function of a task with ``bulk = True`` gets.

    A job that the function says nothing about has succeeded, with None, or with its place in the
    list that the function returns.

    Args:
        id: Its id.
        args: Positional arguments of the call.
        kwargs: Keyword arguments of the call.
        request: What ``self.request`` is in other tasks, or what returns what it is made of.
    """

    __slots__ = ("_countdown", "_request", "_state", "_value", "args", "id", "kwargs")

    def __init__(
        self,
        id: str,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        request: Context | Callable[[], dict[str, Any]],
    ) -> None:
        self.id = id
        self.args = tuple(args)
        self.kwargs = dict(kwargs)
        self._request = request
        self._state = ""
        self._value: Any = None
        self._countdown: float | None = None

    def __repr__(self) -> str:
        return f"<Job {self.id} {self.args!r} {self.kwargs!r}>"

    @property
    def request(self) -> Context:
        """Return what ``self.request`` is in other tasks."""
        if not isinstance(self._request, Context):  # few functions look at it, and it costs 15 us
            self._request = Context(self._request())
        return self._request

    @request.setter
    def request(self, request: Context) -> None:
        self._request = request

    @property
    def has_outcome(self) -> bool:
        """Return whether something was said about it."""
        return bool(self._state)

    @property
    def is_done(self) -> bool:
        """Return whether it has succeeded."""
        return self._state == DONE

    @property
    def result(self) -> Any:
        """Return what it has succeeded with."""
        return self._value

    def done(self, result: Any = None) -> None:
        """Let it have succeeded.

        Args:
            result: What ``AsyncResult.get()`` returns.
        """
        self._state, self._value = DONE, result

    def fail(self, exc: BaseException) -> None:
        """Let it have failed, as if the function of an ordinary task had raised `exc`."""
        self._state, self._value = FAILED, exc

    def retry(self, exc: BaseException | None = None, countdown: float | None = None) -> None:
        """Have it run again, as ``Task.retry`` does.

        Args:
            exc: What it fails with when it was run often enough.
            countdown: Seconds until then; None is the task's ``default_retry_delay``.
        """
        self._state, self._value, self._countdown = RETRY, exc, countdown

    def conclude(self, task: Any) -> Any:
        """Return or raise what was said about it, in its own tracer."""
        if self._state == FAILED:
            raise self._value
        if self._state == RETRY:
            task.retry(exc=self._value, countdown=self._countdown)
        return self._value


def runs_together(task: Any) -> bool:
    """Tell whether jobs of a task run in one call of its function.

    Not where it has a ``before_start``, which may keep a job from running and is called for each
    before its function, or a Request class of its own: in a call most jobs have no request.
    """
    return (
        getattr(task, "bulk", False)
        and type(task).before_start is Task.before_start
        and task.Request == Task.Request
    )


def run_one(task: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """Run a job of a bulk task: what Celery calls as the task's ``run``.

    Returns:
        The result of this job, which came alone or is one of a call's.

    Raises:
        BaseException: what the job failed with.
    """
    identity = task.request.id or ""
    if call := call_with(identity):
        job = call.jobs[identity]
        job.request = task.request  # what Celery made, children and all
        return call.conclude(job)
    return _run_alone(task, Job(identity, args, kwargs, task.request))


class Call:
    """One call of a function with several jobs, within a block.

    The tracer of the first job that comes to it makes the call; the others find their outcome.

    Args:
        task: Whose function.
        jobs: The jobs.
    """

    def __init__(self, task: Any, jobs: Sequence[Job]) -> None:
        self.jobs = {job.id: job for job in jobs}
        self._task = task
        self._is_made = False
        self._is_out_of_time = False

    def __enter__(self) -> Self:
        _running.call = self
        return self

    def __exit__(self, *exc_info: object) -> None:
        _running.call = None

    def conclude(self, job: Job) -> Any:
        """Return or raise the outcome of a job, in its own tracer."""
        if not self._is_made:
            self._is_made = True
            if len(self.jobs) > 1:
                self._make()
        if job.has_outcome:
            return job.conclude(self._task)
        if self._is_out_of_time and self._task.acks_late:
            # Celery's soft limit comes once a call: alone, the job gets one of its own.
            raise Reject("The soft time limit of its call was exceeded", requeue=True)
        return _run_alone(self._task, job)

    def _make(self) -> None:
        jobs = list(self.jobs.values())
        try:
            result = self._task.run_bulk(jobs)
        except Exception as error:
            self._is_out_of_time = isinstance(error, SoftTimeLimitExceeded)
            logger.warning(
                "Task %s raised in a call with %d jobs; those without an outcome run one by one",
                self._task.name,
                len(jobs),
                exc_info=True,
            )
        else:
            _spread(jobs, result)


def call_with(id: str) -> Call | None:
    """Return the call in this thread that has a job, if there is one."""
    call: Call | None = getattr(_running, "call", None)
    return call if call is not None and id in call.jobs else None


def _run_alone(task: Any, job: Job) -> Any:
    _spread([job], task.run_bulk([job]))
    return job.conclude(task)


def _spread(jobs: Sequence[Job], result: Any) -> None:
    """Give each job without an outcome its place in what the function returned."""
    given = result if isinstance(result, list) and len(result) == len(jobs) else [None] * len(jobs)
    for job, value in zip(jobs, given, strict=True):
        if not job.has_outcome:
            job.done(value)


_running = threading.local()
