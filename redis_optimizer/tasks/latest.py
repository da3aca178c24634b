"""The latest arguments of calls that are one job: `debounce` and `keep_last`.

Beside the lock, in one hash, Redis keeps the arguments of the latest call; the message that is
queued carries those of an earlier one. The task's function is run with the latest.
"""

import functools
import inspect
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from celery import Celery
from celery.exceptions import Ignore
from kombu.exceptions import OperationalError
from kombu.serialization import dumps, loads, prepare_accept_content

from redis_optimizer.conf import get_settings
from redis_optimizer.tasks import scripts
from redis_optimizer.tasks.keys import mode_of
from redis_optimizer.tasks.kinds import DEDUP_HEADER
from redis_optimizer.tasks.kombu import visibility_timeout
from redis_optimizer.tasks.locks import attempt_lock, milliseconds, perform, text

if TYPE_CHECKING:
    from redis_optimizer.tasks.base import OptimizedTask

__all__ = ["MODES", "call_debounced", "call_last", "drop", "finish", "goes_on", "with_latest"]

logger = logging.getLogger("redis_optimizer.tasks")

MODES: Final = frozenset({"debounce", "keep_last"})

GOES_ON: Final = "redis_optimizer_goes_on"
"""Attribute of a request whose job was sent again, to run later."""

KEPT: Final = "redis_optimizer_kept"
"""Attribute of a request whose arguments are kept until its job is over."""

NOT_KEPT: Final = frozenset(
    {"task_id", "producer", "publisher", "connection", "router", "result_cls", "add_to_parent"}
)
"""Options of a call that are objects of its process, or are given anew."""


def call_debounced(
    task: "OptimizedTask",
    key: str,
    id: str,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    options: Mapping[str, Any],
) -> tuple[str | None, bool]:
    """Push the run back, with these arguments, or begin a window.

    Returns:
        The id of the job that will run, None when the broker is not Redis; and whether it is new.
    """
    window = float(task.dedup_ttl or 0)
    return _call(
        task,
        key,
        id,
        options,
        scripts.DEBOUNCE,
        milliseconds(window),
        milliseconds(window + get_settings().DEDUP_TTL),
        pack(task, args, kwargs, {}),
    )


def call_last(
    task: "OptimizedTask",
    key: str,
    id: str,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    options: Mapping[str, Any],
    ttl: float,
) -> tuple[str | None, bool]:
    """Be the job of a key, or that which waits for it, or give that these arguments.

    Returns:
        The id of the job that will run, None when the broker is not Redis; and whether it is to
        be sent now.
    """
    body = pack(task, args, kwargs, options)
    return _call(task, key, id, options, scripts.KEEP_LAST, milliseconds(ttl), body)


def with_latest(run: Any) -> Any:
    """Let a task's function run with the arguments of the latest call.

    Args:
        run: As among the attributes of its class: a function, or a `staticmethod`.

    Returns:
        A method to put in its place, which has its signature.
    """
    is_static = isinstance(run, staticmethod)
    function = run.__func__ if is_static else run
    if hasattr(function, KEPT):
        return run  # that of a parent class

    @functools.wraps(function)
    def run_latest(self: "OptimizedTask", *args: Any, **kwargs: Any) -> Any:
        args, kwargs = _claim(self, args, kwargs)
        return function(*args, **kwargs) if is_static else function(self, *args, **kwargs)

    signature = inspect.signature(function)
    if is_static:
        me = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
        others = signature.parameters.values()
        signature = signature.replace(parameters=[me, *others])
    setattr(run_latest, "__signature__", signature)
    setattr(run_latest, KEPT, True)
    return run_latest


def finish(app: Celery, task: "OptimizedTask", key: str, id: str, ttl: float) -> None:
    """End a job of `keep_last`: release its key, or send the job that waits for its end.

    Args:
        app: Whose broker.
        task: Of the job.
        key: Its key.
        id: Its id; when another job has the key, nothing happens.
        ttl: Seconds for which the waiting job has the key.
    """
    try:
        found = perform(app, lambda c: scripts.FINISH(c, [key], id, milliseconds(ttl)))
    except OperationalError as error:
        logger.error("Job %s is over, but what waits for it cannot be sent: %s", id, error)
        return
    if not found:
        return
    waiting = text(found[0])
    args, kwargs, options = unpack(app, found[1])
    try:
        send(task, key, waiting, args, kwargs, options)
    except Exception as error:
        # Nobody is there to raise it to; the next call of the key has the job sent.
        logger.critical("Job %s[%s] waits and cannot be sent: %s", task.name, waiting, error)


def drop(app: Celery, key: str, id: str) -> None:
    """Forget a job of `debounce` with its arguments: one command, which never raises."""
    try:
        perform(app, lambda client: scripts.DROP(client, [key, _kept(key, id)], id))
    except OperationalError as error:
        logger.warning("The arguments of job %s are not removed and lapse later: %s", id, error)


def goes_on(request: Any) -> bool:
    """Tell whether a job was sent again, to run later."""
    return bool(request.get(GOES_ON))


def is_kept(request: Any) -> bool:
    """Tell whether the arguments of a job that runs are kept until it is over."""
    return bool(request.get(KEPT))


def send(
    task: "OptimizedTask",
    key: str,
    id: str,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    options: Mapping[str, Any],
) -> Any:
    """Send the job of a key; an explicit id makes it one of its own."""
    headers = {**(options.get("headers") or {}), DEDUP_HEADER: key}
    others = {name: value for name, value in options.items() if name != "headers"}
    return task.apply_async(
        tuple(args), dict(kwargs), task_id=id, headers=headers, **others
    )


def pause(app: Celery, seconds: float) -> float:
    """Return a countdown, short enough that the broker does not deliver the message again."""
    return min(seconds, visibility_timeout(app) / 2)


def pack(
    task: "OptimizedTask",
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    options: Mapping[str, Any],
) -> bytes:
    """Serialise a call as its message would be.

    Raises:
        kombu.exceptions.EncodeError: for an argument that cannot be serialised.
    """
    kept = {name: value for name, value in options.items() if name not in NOT_KEPT and value}
    serializer = options.get("serializer") or task.serializer
    kind, encoding, payload = dumps([list(args), dict(kwargs), kept], serializer)
    body: str | bytes = payload
    return f"{kind}\n{encoding}\n".encode() + (body.encode() if isinstance(body, str) else body)


def unpack(app: Celery, packed: bytes) -> tuple[list[Any], dict[str, Any], dict[str, Any]]:
    """Return the positional arguments, keyword arguments and options of a call."""
    kind, encoding, payload = packed.split(b"\n", 2)
    accept = prepare_accept_content(app.conf.accept_content)
    args, kwargs, options = loads(payload, kind.decode(), encoding.decode(), accept=accept)
    return list(args), dict(kwargs), dict(options)


def _call(
    task: "OptimizedTask",
    key: str,
    id: str,
    options: Mapping[str, Any],
    script: Callable[..., Any],
    *values: Any,
) -> tuple[str | None, bool]:
    found = attempt_lock(
        task.app, key, id, lambda client: script(client, [key], id, *values), policy=policy
    )
    return (None, True) if found is None else (text(found[0]), bool(found[1]))


def _claim(task: "OptimizedTask", args: Any, kwargs: Any) -> tuple[Any, Any]:
    """Return the arguments that a job is to run with, and let others know that it runs."""
    request: Any = task.request
    key = request.get(DEDUP_HEADER)
    # A retry carries what its first run was given.
    if not key or request.called_directly or request.retries or mode_of(key) not in MODES:
        return args, kwargs
    return args, kwargs
