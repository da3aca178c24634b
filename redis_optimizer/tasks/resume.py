"""Run a job of `debounce` or `keep_last` with the arguments of the latest call."""

import functools
import inspect
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, NoReturn

from celery.exceptions import Ignore
from kombu.exceptions import OperationalError

from redis_optimizer.tasks import scripts
from redis_optimizer.tasks.keys import mode_of
from redis_optimizer.tasks.kinds import DEDUP_HEADER
from redis_optimizer.tasks.latest import REPLACING, kept_key, lifetime, pause, unpack
from redis_optimizer.tasks.locks import milliseconds, perform

if TYPE_CHECKING:
    from redis_optimizer.tasks.base import OptimizedTask

__all__ = ["goes_on", "has_kept", "with_latest"]

logger = logging.getLogger("redis_optimizer.tasks")

REFUSED_FOR: Final = 10.0
"""Seconds after which a job asks again for its arguments, where the broker has refused."""

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
    mode = mode_of(key)
    if mode not in REPLACING:
        return args, kwargs
    try:
        wait, packed = _ask(task, mode, key, request.id)
    except OperationalError as error:
        # With the arguments of its message it would undo later calls.
        logger.warning("Job %s runs later: its arguments cannot be had: %s", request.id, error)
        request.update({HAS_KEPT: mode == "debounce"})  # should it not be sent, its lock goes
        _send_again(task, request, REFUSED_FOR)
    request.update({HAS_KEPT: mode == "debounce" and bool(packed)})
    if packed:
        latest, named, _ = unpack(task.app, packed)
        args, kwargs = tuple(latest), dict(named)
        # What retry() sends, and what the task sees of itself.
        request.update(args=args, kwargs=kwargs)
    if wait > 0:
        _send_again(task, request, wait / 1000)
    return args, kwargs


def _ask(task: "OptimizedTask", mode: str, key: str, id: str) -> tuple[int, bytes | None]:
    """Return the milliseconds that a job must wait, and its latest call."""
    ttl = milliseconds(lifetime(task))
    if mode == "keep_last":
        return 0, perform(task.app, lambda c: scripts.CLAIM_LAST(c, [key], id, ttl))
    keys = [key, kept_key(key, id)]
    claimed = perform(task.app, lambda c: scripts.CLAIM_DEBOUNCED(c, keys, id, ttl))
    wait, packed = claimed or (0, None)
    return wait, packed


def _send_again(task: "OptimizedTask", request: Any, seconds: float) -> NoReturn:
    """Let a job run later, under its id.

    Raises:
        Ignore: it is not over.
        kombu.exceptions.OperationalError: it cannot be sent.
    """
    task.signature_from_request(
        request, countdown=pause(task.app, seconds), add_to_parent=False
    ).apply_async()
    request.update({GOES_ON: True, HAS_KEPT: False})
    raise Ignore
