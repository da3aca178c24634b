"""Run the jobs of one call in a process of the pool.

Each is traced by Celery, so that results, signals, handlers and logs are those of an ordinary job.
Of a bulk task only the first needs that, and those that failed or are to run again, unless somebody
listens: the others have succeeded, and where nobody is to hear of each the log has one line, with
the ids of all. Django's connections are then closed once a call.
"""

import logging
import os
from collections.abc import Mapping
from functools import partial
from time import monotonic
from typing import Any, Final

from billiard.einfo import ExceptionInfo
from celery import Task, current_app, signals, states
from celery.app.task import Context
from celery.app.trace import trace_task
from celery.backends.base import DisabledBackend
from celery.utils.serialization import get_pickleable_etype, get_pickleable_exception

from redis_optimizer.core.limits import pass_time_limit
from redis_optimizer.tasks.bulk import Call, Job, runs_together
from redis_optimizer.tasks.celery_internals import has_own_tracer, receivers_of
from redis_optimizer.tasks.counts import counter
from redis_optimizer.tasks.ends import begin_together
from redis_optimizer.tasks.kinds import DEDUP_HEADER
from redis_optimizer.tasks.message import Arguments
from redis_optimizer.tasks.pace import MOMENT
from redis_optimizer.tasks.packed import Part
from redis_optimizer.tasks.parts import About, Parts

__all__ = ["NOT_BEGUN", "UNREADABLE", "run_call"]

logger = logging.getLogger(__name__)

NOT_BEGUN: Final = "not begun"
UNREADABLE: Final = "unreadable"

NEVER_RAN: Final = 2
"""In the place of "failed or not": it failed, and nobody has been told."""

Outcome = tuple[int, Any, Any] | str
"""What Celery's tracer returns for one: failed or not, an ExceptionInfo or text, seconds; or one of
the words above."""

Result = tuple[str, Any, str, str | None, Context]
"""What backends store of a job: its id, result, state, traceback and request."""

HANDLERS: Final = ("__call__", "before_start", "on_success", "after_return")

# Django's closes connections, which the first job's does for all; ours look at locks, and jobs with
# one are always traced, or count jobs.
UNCONCERNED: Final = frozenset(
    {"celery.fixups.django", "redis_optimizer.tasks.ends", "redis_optimizer.tasks.presence"}
)


def run_call(
    name: str, packed: Part, given: Mapping[int, dict[str, Any]], about: About
) -> dict[int, Outcome]:
    """Run jobs of one task.

    Args:
        name: The task.
        packed: Its jobs.
        given: Requests of those whose request the main process has made, by place.
        about: What the jobs have in common.

    Returns:
        The outcomes by place. Those that are not there have succeeded and nobody asks with what.
    """
    task = current_app.tasks[name]
    parts = Parts(task.app, packed, given, about)
    run = _run_together if runs_together(task) else _run_each
    try:
        outcomes = run(task, parts)
    except Exception as error:  # before a function ran; most pools tell nobody of what is raised
        logger.exception("A call of task %s with %d jobs did not begin", name, len(parts.jobs))
        outcomes = dict.fromkeys(range(len(parts.jobs)), _not_run(task, error))
    if about.events:
        return outcomes
    return {place: each for place, each in outcomes.items() if each[0]}


def _run_each(task: Any, parts: Parts) -> dict[int, Outcome]:
    """Run them one after the other, for a moment: the others go back."""
    outcomes: dict[int, Outcome] = {}
    ends = monotonic() + MOMENT
    for place in range(len(parts.jobs)):
        if place and monotonic() > ends:
            outcomes[place] = NOT_BEGUN
            continue
        try:
            request = parts.request(place, parts.arguments(place))
        except Exception:  # the main process meets the same, and knows what to do
            outcomes[place] = UNREADABLE
            continue
        outcomes[place], _ = _trace(task, request)
    return outcomes


def _run_together(task: Any, parts: Parts) -> dict[int, Outcome]:
    """Run them in one call of the task's function."""
    outcomes: dict[int, Outcome] = {}
    read: dict[int, tuple[Job, Arguments]] = {}
    for place in range(len(parts.jobs)):
        try:
            arguments = parts.arguments(place)
            args, kwargs, _ = arguments
            request = partial(_context, parts, place, arguments)
            read[place] = Job(parts.jobs.id(place), args, kwargs, request), arguments
        except Exception:  # as above
            outcomes[place] = UNREADABLE
    header = parts.jobs.header
    keys = {place: header(place, DEDUP_HEADER) for place in read if not header(place, "retries")}
    begin_together(task, [(key, read[place][0].id) for place, key in keys.items() if key])
    if task.track_started:
        _note_started(task, parts, {place: job for place, (job, _) in read.items()})
    with Call(task, [job for job, _ in read.values()]):
        try:
            _settle(task, parts, read, outcomes)
        except Exception as error:  # as of a soft time limit
            for place, (job, _) in read.items():
                if place not in outcomes:
                    outcomes[place] = _unsettled(task, job, error, job.has_outcome)
    return outcomes


def _settle(
    task: Any,
    parts: Parts,
    read: Mapping[int, tuple[Job, Arguments]],
    outcomes: dict[int, Outcome],
) -> None:
    # Stored afterwards, by one command, where the backend can.
    stores_many = hasattr(task.backend, "store_many")
    results: dict[int, Result] = {}
    succeeded: list[str] = []
    started, needs_no_trace = monotonic(), False
    for place, (job, arguments) in read.items():
        try:
            is_ignored = _is_ignored(task, parts, place)
            if (
                needs_no_trace
                and job.is_done
                and (is_ignored or stores_many)
                and not any(map(arguments[2].get, ("callbacks", "chain", "chord")))
                and not parts.jobs.header(place, DEDUP_HEADER)
            ):
                if not is_ignored:
                    results[place] = job.id, job.result, states.SUCCESS, None, job.request
                succeeded.append(job.id)
                continue
            request = parts.request(place, arguments)
            if is_ignored or not stores_many:
                outcomes[place], _ = _trace(task, request)
            else:
                outcomes[place], result = _trace(task, request | {"ignore_result": True})
                job.request.ignore_result = False
                if result and result[1] == states.RETRY:
                    # At once: the next run, whose outcome this must not overwrite, may begin soon.
                    task.backend.mark_as_retry(job.id, result[0].exc, result[2], job.request)
                elif result:
                    results[place] = job.id, *result, job.request
        except Exception as error:
            has_run = place in outcomes or job.has_outcome
            outcomes[place] = _unsettled(task, job, error, has_run)
        # Now that one has made the call, and Celery the tracer.
        needs_no_trace = needs_no_trace or (not parts.about.events and _is_plain(task))
    if succeeded:
        counter.run(task.name, len(succeeded))
        logger.info(
            "Task %s: %d more jobs succeeded in one call, in %.6fs: %s",
            task.name,
            len(succeeded),
            monotonic() - started,
            ", ".join(succeeded),
        )
    if results:
        try:
            reasons = _store(task, results)
        except Exception as error:  # a time limit: the function has run
            reasons = dict.fromkeys(results, error)
        for place, reason in reasons.items():
            if place not in outcomes or not outcomes[place][0]:
                outcomes[place] = _failed(reason)  # as Celery's tracer has it


def _note_started(task: Any, parts: Parts, jobs: Mapping[int, Job]) -> None:
    """Store that jobs have started, as the tracer does: it would do so when the call is over."""
    about = {"pid": os.getpid(), "hostname": parts.about.hostname}
    started: dict[int, Result] = {}
    for place, job in jobs.items():
        if not _is_ignored(task, parts, place):
            try:
                started[place] = job.id, about, states.STARTED, None, job.request
            except Exception as error:  # it fails alone, when it is settled
                pass_time_limit(error)
    if started:
        _store(task, started)


def _store(task: Any, results: Mapping[int, Result]) -> dict[int, Exception]:
    """Store results; return the errors of those that could not be, by place."""
    errors: dict[str, Exception] = {}
    try:
        if hasattr(task.backend, "store_many"):
            errors = task.backend.store_many(list(results.values())) or {}
        else:
            for identity, result, state, traceback, request in results.values():
                task.backend.store_result(identity, result, state, traceback, request=request)
    except Exception as error:
        pass_time_limit(error)
        logger.exception("Results of task %s could not be stored", task.name)
        errors = {result[0]: error for result in results.values()}
    for identity, reason in errors.items():
        logger.error("Result of job %s could not be stored: %r", identity, reason)
    return {place: errors[each[0]] for place, each in results.items() if each[0] in errors}


def _is_ignored(task: Any, parts: Parts, place: int) -> bool:
    ignored = parts.jobs.header(place, "ignore_result")
    own = task.ignore_result if ignored is None else ignored
    return bool(own) or isinstance(task.backend, DisabledBackend)


def _trace(task: Any, request: dict[str, Any]) -> tuple[Outcome, Any]:
    """Trace a job; return its outcome, and its result, state and traceback if it has them."""
    try:
        result, info, runtime, text = trace_task(
            task, request["id"], request["args"], request["kwargs"], request, app=task.app
        )
    except Exception as error:  # a handler's Reject: Celery's pool would report it like this
        return (1, ExceptionInfo((type(error), error, error.__traceback__)), 0.0), None
    if not info:
        return (0, text, runtime), (result, states.SUCCESS, None)
    kept = None
    if info.state in (states.FAILURE, states.RETRY):
        kept = (info.retval, info.state, result.traceback)
    return (1, result, runtime), kept


def _failed(error: Exception) -> Outcome:
    """Return the outcome of a job that failed outside its function."""
    kept, kind = get_pickleable_exception(error), get_pickleable_etype(type(error))
    try:
        raise error  # it may never have been, and has no traceback then
    except Exception as raised:
        return 1, ExceptionInfo((kind, kept, raised.__traceback__), internal=True), 0.0


def _not_run(task: Any, error: Exception) -> Outcome:
    """Return the outcome of a job that its function has not had: it comes again, if it can."""
    if task.acks_late:
        return UNREADABLE
    return NEVER_RAN, _failed(error)[1], 0.0


def _unsettled(task: Any, job: Job, error: Exception, has_run: bool) -> Outcome:
    """Return the outcome of a job that something failed around; it does not run a second time."""
    logger.error("Job %s of task %s could not be settled", job.id, task.name, exc_info=error)
    return _failed(error) if has_run else _not_run(task, error)


def _context(parts: Parts, place: int, arguments: Arguments) -> dict[str, Any]:
    return parts.request(place, arguments)


def _is_plain(task: Any) -> bool:
    """Tell whether nothing but Celery's tracer would be told of a job that has succeeded."""
    return (
        not task.track_started
        and "run" not in vars(task)  # as instrumentation puts it there
        and not has_own_tracer(task)
        and all(getattr(type(task), name) is getattr(Task, name) for name in HANDLERS)
        and not any(
            getattr(receiver, "__module__", None) not in UNCONCERNED
            for signal in (signals.task_prerun, signals.task_postrun, signals.task_success)
            for receiver in receivers_of(signal)
        )
    )
