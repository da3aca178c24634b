"""Calls that are one job: a duplicate returns the job that stands for it."""

import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakSet

from celery import Celery, uuid
from django.core.exceptions import ImproperlyConfigured

from redis_optimizer.conf import MOST_SECONDS, show
from redis_optimizer.signals import job_deduplicated
from redis_optimizer.tasks import batching, ends, latest, locks
from redis_optimizer.tasks.celery_internals import dump_models
from redis_optimizer.tasks.keys import check_names, condition, key_of
from redis_optimizer.tasks.kinds import DEDUP_HEADER
from redis_optimizer.tasks.latest import REPLACING

if TYPE_CHECKING:
    from redis_optimizer.tasks.base import OptimizedTask

__all__ = ["MODES", "REPLACING", "WINDOWS", "apply_async", "check_options", "key_of"]

logger = logging.getLogger("redis_optimizer.tasks")

WINDOWS: Final = ("throttle", "debounce")
"""Modes in which `dedup_ttl` is how long calls are one, not how long a lost job is believed in."""

MODES: Final = ("until_executing", "until_executed", *WINDOWS, "keep_last")

Send = Callable[[str | None, dict[str, str]], Any]
"""Sends or buffers a job, under an id and with more headers, and returns its result."""

_without_redis: Final[WeakSet[Celery]] = WeakSet()

ends.connect()


def apply_async(
    task: "OptimizedTask",
    send: Send,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    options: Mapping[str, Any],
) -> Any:
    """Send a job, unless another stands for this call.

    A duplicate costs one command; none where the job that stands for it is still in this process.

    Args:
        task: With its options `dedup`, `dedup_on` and `dedup_ttl`.
        send: Sends or buffers the job.
        args: Positional arguments of the call.
        kwargs: Keyword arguments of the call.
        options: Options of the call.

    Returns:
        The result of the job, or of the one that stands for it.

    Raises:
        kombu.exceptions.OperationalError: when the broker cannot be reached; nothing is sent.
        TypeError: when an argument has no form that can be compared; the message names it.
    """
    given = args, kwargs
    args, kwargs = dump_models(task, args, kwargs, options)
    # A function is given what the caller gave, whatever the serializer.
    key = key_of(task, *(given if callable(condition(task)) else (args, kwargs)))
    id = uuid()
    call = (args, kwargs, options)
    if task.dedup == "debounce":
        stands, is_new = latest.debounce(task, key, id, call)
    elif task.dedup == "keep_last":
        ttl = latest.lifetime(task) + latest.delay(options, task.app)
        stands, is_new = latest.keep_last(task, key, id, call, ttl)
    else:
        stands, is_new = _take(task, key, id, *call)
    if stands is None:
        _warn(task.app)
        return send(id, {})
    if not is_new:
        if stands != id:
            job_deduplicated.send_robust(type(task), task=task.name, id=id, existing_id=stands)
        return task.AsyncResult(stands)
    try:
        if task.dedup == "debounce":
            return latest.send(task, key, id, (args, kwargs, _later(task, options)))
        return send(id, {DEDUP_HEADER: key})
    except BaseException:
        locks.release(task.app, key, id)
        raise


def check_options(task: "OptimizedTask | type[OptimizedTask]") -> None:
    """Check a task's options of deduplication.

    Raises:
        ImproperlyConfigured: for a value that is wrong; the message names the task and the option.
    """
    if task.dedup is None:
        return
    if task.dedup not in MODES:
        raise ImproperlyConfigured(
            f"Task {task.name}: dedup must be one of {', '.join(MODES)}, or None, "
            f"not {task.dedup!r}."
        )
    ttl: Any = task.dedup_ttl
    if ttl is None and task.dedup in WINDOWS:
        raise ImproperlyConfigured(
            f"Task {task.name}: {task.dedup} needs dedup_ttl, the seconds in which calls are one."
        )
    if ttl is not None and (
        isinstance(ttl, bool) or not isinstance(ttl, int | float) or not 0 < ttl <= MOST_SECONDS
    ):
        raise ImproperlyConfigured(
            f"Task {task.name}: dedup_ttl must be a number of seconds, more than 0, not "
            f"{show(ttl)}: a lock that never lapses would outlive a job that is lost."
        )
    if task.bulk and task.dedup in REPLACING:
        raise ImproperlyConfigured(
            f"Task {task.name}: a bulk task cannot have dedup={task.dedup!r}, which replaces the "
            "arguments of one job when it runs."
        )
    check_names(task)


def _take(
    task: "OptimizedTask",
    key: str,
    id: str,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    options: Mapping[str, Any],
) -> tuple[str | None, bool]:
    if buffered := batching.find(task.app, key):
        return buffered, False
    # What cannot be sent must not take the lock: a call like it could be given this one's id.
    latest.pack(task, (args, kwargs, options))
    ttl = latest.lifetime(task)
    if task.dedup not in WINDOWS:
        ttl += latest.delay(options, task.app)
    holder = locks.acquire(task.app, key, id, ttl, options)
    return holder, holder == id


def _later(task: "OptimizedTask", options: Mapping[str, Any]) -> dict[str, Any]:
    """Let a job wait for the end of its window, whatever the call said about when to run."""
    countdown = latest.pause(task.app, float(task.dedup_ttl or 0))
    return {**options, "eta": None, "countdown": countdown}


def _warn(app: Celery) -> None:
    if app not in _without_redis:
        _without_redis.add(app)
        logger.warning("The broker is not Redis: no call is deduplicated.")
