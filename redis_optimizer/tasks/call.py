"""Run the jobs of one call in a process of the pool.

Each is traced by Celery, so that results, signals, handlers and logs are those of an ordinary job.
Of a bulk task only the first needs that, and those that failed or are to run again, unless somebody
listens: the others have succeeded, and where nobody is to hear of each the log has one line, with
the ids of all. Django's connections are then closed once a call.
"""

import logging
from collections.abc import Mapping
from functools import partial
from time import monotonic
from typing import Any, Final

from billiard.einfo import ExceptionInfo
from celery import Task, current_app, signals, states
from celery.app.task import Context
from celery.app.trace import trace_task
from celery.backends.base import DisabledBackend

from redis_optimizer.tasks.bulk import Call, Job
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

Outcome = tuple[int, Any, Any] | str
"""What Celery's tracer returns for one: failed or not, an ExceptionInfo or text, seconds; or one of
the words above."""

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
    run = _run_together if getattr(task, "bulk", False) else _run_each
    outcomes = run(task, parts)
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
            arguments = parts.arguments(place)
        except Exception:  # the main process meets the same, and knows what to do
            outcomes[place] = UNREADABLE
            continue
        outcomes[place], _ = _trace(task, parts.request(place, arguments))
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
    with Call(task, [job for job, _ in read.values()]):
        _settle(task, parts, read, outcomes)
    return outcomes


def _settle(
    task: Any,
    parts: Parts,
    read: Mapping[int, tuple[Job, Arguments]],
    outcomes: dict[int, Outcome],
) -> None:
    # Stored afterwards, by one command, where the backend can.
    store_many = getattr(task.backend, "store_many", None)
    is_disabled = isinstance(task.backend, DisabledBackend)
    results: list[tuple[str, Any, str, str | None, Context]] = []
    succeeded: list[str] = []
    started, needs_no_trace = monotonic(), False
    for place, (job, arguments) in read.items():
        ignored = parts.jobs.header(place, "ignore_result")
        is_ignored = is_disabled or (task.ignore_result if ignored is None else ignored)
        if (
            needs_no_trace
            and job.is_done
            and (is_ignored or store_many)
            and not any(map(arguments[2].get, ("callbacks", "chain", "chord")))
            and not parts.jobs.header(place, DEDUP_HEADER)
        ):
            succeeded.append(job.id)
            if not is_ignored:
                results.append((job.id, job.result, states.SUCCESS, None, job.request))
            continue
        request = parts.request(place, arguments)
        if is_ignored or not store_many:
            outcomes[place], _ = _trace(task, request)
        else:
            outcomes[place], result = _trace(task, request | {"ignore_result": True})
            job.request.ignore_result = False
            if result and result[1] == states.RETRY:
                # At once: the next run, whose outcome this must not overwrite, may begin any time.
                task.backend.mark_as_retry(job.id, result[0].exc, result[2], job.request)
            elif result:
                results.append((job.id, *result, job.request))
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
    if store_many and results:
        for identity, error in (store_many(results) or {}).items():
            logger.error("Result of job %s was stored as a failure: %r", identity, error)


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
