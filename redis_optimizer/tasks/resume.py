"""Run a job of `debounce` or `keep_last` with the arguments of the latest call."""

import functools
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from celery.exceptions import Ignore

from redis_optimizer.tasks import scripts
from redis_optimizer.tasks.keys import mode_of
from redis_optimizer.tasks.kinds import DEDUP_HEADER
from redis_optimizer.tasks.latest import kept_key, lifetime, pause, unpack
from redis_optimizer.tasks.locks import milliseconds, perform

if TYPE_CHECKING:
    from redis_optimizer.tasks.base import OptimizedTask

__all__ = ["goes_on", "has_kept", "with_latest"]

GOES_ON: Final = "redis_optimizer_goes_on"
"""Attribute of the request of a job that was sent again, to run later."""

HAS_KEPT: Final = "redis_optimizer_has_kept"
"""Attribute of the request of a job whose arguments are kept until it is over."""

MARK: Final = "redis_optimizer_run"
"""Attribute of a function that `with_latest` made."""


def with_latest(run: Any) -> Any:
    """Let a task's function run with the arguments of the latest call.

    Args:
        run: As it stands in a class: a function, or a `staticmethod`.

    Returns:
        A method for its place, which has its signature.
    """
    is_static = isinstance(run, staticmethod)
    function: Callable[..., Any] = run.__func__ if is_static else run
    if hasattr(function, MARK):
        return run  # inherited

    @functools.wraps(function)
    def run_latest(self: "OptimizedTask", *args: Any, **kwargs: Any) -> Any:
        args, kwargs = _claim(self, args, kwargs)
        return function(*args, **kwargs) if is_static else function(self, *args, **kwargs)

    marks: dict[str, Any] = {MARK: True}
    if is_static:
        signature = inspect.signature(function)
        # Without it the first argument would be taken for this one.
        me = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
        parameters = [me, *signature.parameters.values()]
        marks["__signature__"] = signature.replace(parameters=parameters)
    vars(run_latest).update(marks)
    return run_latest


def goes_on(request: Any) -> bool:
    """Tell whether a job was sent again, and so is not over."""
    return bool(request.get(GOES_ON))


def has_kept(request: Any) -> bool:
    """Tell whether the arguments of a job are kept until it is over."""
    return bool(request.get(HAS_KEPT))


def _claim(
    task: "OptimizedTask", args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the arguments to run with, and mark the job as running, with one command."""
    request: Any = task.request
    key = request.get(DEDUP_HEADER)
    # A retry carries the arguments that its first run was given.
    if not key or request.called_directly or request.retries:
        return args, kwargs
    ttl = milliseconds(lifetime(task))
    if mode_of(key) == "keep_last":
        packed = perform(task.app, lambda c: scripts.CLAIM_LAST(c, [key], request.id, ttl))
        wait = 0
    elif mode_of(key) == "debounce":
        keys = [key, kept_key(key, request.id)]
        claimed = perform(task.app, lambda c: scripts.CLAIM_DEBOUNCED(c, keys, request.id, ttl))
        wait, packed = claimed or (0, None)
        request.update({HAS_KEPT: bool(packed)})
    else:
        return args, kwargs
    if packed:
        latest, named, _ = unpack(task.app, packed)
        args, kwargs = tuple(latest), dict(named)
        # What retry() sends, and what the task sees of itself.
        request.update(args=args, kwargs=kwargs)
    if wait > 0:
        _send_again(task, request, wait / 1000)
    return args, kwargs


def _send_again(task: "OptimizedTask", request: Any, seconds: float) -> None:
    """Let a job that calls have pushed back run later, under its id."""
    task.signature_from_request(
        request, countdown=pause(task.app, seconds), add_to_parent=False
    ).apply_async()
    request.update({GOES_ON: True, HAS_KEPT: False})
    raise Ignore
