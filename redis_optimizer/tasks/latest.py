"""The latest arguments of calls that are one job: `debounce` and `keep_last`.

A hash in Redis, which is the lock as well, keeps the latest call: the message that is queued
carries an earlier one. Its TTL is mandatory and is renewed with every run. When it lapses all the
same, a job runs with the arguments of its message.
"""

import logging
from collections import deque
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from numbers import Real
from typing import TYPE_CHECKING, Any, Final

from celery import Celery, uuid
from celery.utils.time import maybe_make_aware
from kombu.exceptions import OperationalError
from kombu.serialization import dumps, loads, prepare_accept_content

from redis_optimizer.conf import get_settings
from redis_optimizer.core.forks import around_fork
from redis_optimizer.tasks import scripts
from redis_optimizer.tasks.kinds import DEDUP_HEADER
from redis_optimizer.tasks.kombu.producers import visibility_timeout
from redis_optimizer.tasks.locks import extend, milliseconds, perform, release, take, text
from redis_optimizer.tasks.losses import report

if TYPE_CHECKING:
    from redis_optimizer.tasks.base import OptimizedTask

__all__ = [
    "REPLACING",
    "debounce",
    "delay",
    "drop",
    "finish",
    "keep_last",
    "kept_key",
    "lifetime",
    "pause",
    "send",
    "unpack",
]

logger = logging.getLogger("redis_optimizer.tasks")

Call = tuple[Sequence[Any], Mapping[str, Any], Mapping[str, Any]]
"""Positional arguments, keyword arguments and options."""

REPLACING: Final = ("debounce", "keep_last")
"""Modes in which a call replaces the arguments of a job that waits."""

OBJECTS: Final = frozenset(
    {
        "task_id",
        "producer",
        "publisher",
        "connection",
        "router",
        "result_cls",
        "add_to_parent",
        "declare",
        "retry_policy",
    }
)
"""Options that belong to one call in one process."""

ENTITIES: Final = frozenset({"queue", "exchange"})
"""Options that may be objects of kombu's: kept are their names."""

TIMES: Final = ("eta", "expires")
"""Options that may be points in time: kept as texts, which Celery takes and every serializer."""

REMEMBERED: Final = 1_000
"""Ends of jobs of which this process could not tell."""

_untold: Final[deque[tuple["OptimizedTask", str, str, str]]] = deque(maxlen=REMEMBERED)


def debounce(task: "OptimizedTask", key: str, id: str, call: Call) -> tuple[str | None, bool]:
    """Push the run back and give it these arguments, with one command.

    Args:
        task: With its `dedup_ttl`, the seconds of quiet after which it runs.
        key: What its equal calls meet under.
        id: The job, if this is the first call of a window.
        call: The call.

    Returns:
        The id of the job that will run, or None when the broker is not Redis, and whether it is
        to be sent.
    """
    args, kwargs, options = call
    window, ttl = milliseconds(task.dedup_ttl or 0), milliseconds(lifetime(task))
    body = pack(task, (args, kwargs, {}))
    found = take(
        task.app, key, id, lambda c: scripts.DEBOUNCE(c, [key], id, window, ttl, body), options
    )
    return (text(found[0]), bool(found[1])) if found else (None, True)


def keep_last(
    task: "OptimizedTask", key: str, id: str, call: Call, ttl: float
) -> tuple[str | None, bool]:
    """Be the job of a key, or the one that waits for it, or give that one these arguments.

    Args:
        task: The task.
        key: What its equal calls meet under.
        id: The job, unless another stands for this call.
        call: The call.
        ttl: Seconds after which the key lapses.

    Returns:
        The id of the job that will run, or None when the broker is not Redis, and whether it is
        to be sent.
    """
    args, kwargs, options = call
    body = pack(task, (args, kwargs, _fixed(task, options)))
    found = take(
        task.app,
        key,
        id,
        lambda c: scripts.KEEP_LAST(c, [key], id, milliseconds(ttl), body),
        options,
    )
    return (text(found[0]), bool(found[1])) if found else (None, True)


def finish(task: "OptimizedTask", key: str, id: str) -> None:
    """End a job of `keep_last`: give the key back, or send the job that waits for this end.

    One command, and then those of sending; it never raises. Where the broker refuses that command,
    it is sent once more with the next end that this process hears of.
    """
    for end in [each for each in list(_untold) if each[0].app is task.app]:
        try:
            _untold.remove(end)
        except ValueError:  # another thread does so
            continue
        if not _finish(*end):
            break  # it is refused still
    _finish(task, key, id, uuid())


def _finish(task: "OptimizedTask", key: str, id: str, end: str) -> bool:
    """End a job; return whether that could be told."""
    ttl = lifetime(task)
    try:
        found = perform(task.app, lambda c: scripts.FINISH(c, [key], id, milliseconds(ttl), end))
    except OperationalError as error:
        _untold.append((task, key, id, end))
        logger.error("Job %s is over; what may wait for it is sent later: %s", id, error)
        return False
    if not found:
        return True
    waiting = text(found[0])
    try:
        call = unpack(task.app, found[1])
        if wait := delay(call[2], task.app):
            extend(task.app, key, id, ttl + wait, kind="hash")
        send(task, key, waiting, call)
    except Exception as error:  # whatever the broker or a receiver of a signal raises
        report({waiting: task.name}, reason=f"It cannot be sent: {error}")
        release(task.app, key, id)
    return True


def drop(app: Celery, key: str, id: str) -> None:
    """Forget a job of `debounce` and its arguments: one command, which never raises."""
    try:
        perform(app, lambda c: scripts.DROP(c, [key, kept_key(key, id)], id))
    except OperationalError as error:
        logger.warning("The arguments of job %s are kept until they lapse: %s", id, error)


def send(task: "OptimizedTask", key: str, id: str, call: Call) -> Any:
    """Send the job of a key: its id makes it one that is not deduplicated again."""
    args, kwargs, options = call
    headers = {**(options.get("headers") or {}), DEDUP_HEADER: key}
    return task.apply_async(
        tuple(args), dict(kwargs), task_id=id, **{**options, "headers": headers}
    )


def delay(options: Mapping[str, Any], app: Celery) -> float:
    """Return the seconds until a job is due, in which its lock must not lapse."""
    eta = options.get("eta")
    if isinstance(eta, str):
        eta = datetime.fromisoformat(eta)
    if isinstance(eta, datetime):
        return max(0.0, (maybe_make_aware(eta, app.timezone) - datetime.now(UTC)).total_seconds())
    return max(0.0, float(options.get("countdown") or 0))


def lifetime(task: "OptimizedTask") -> float:
    """Return the seconds for which the latest arguments outlive the first call, or the start."""
    given = getattr(task, "dedup_ttl", None)
    if getattr(task, "dedup", None) != "debounce":
        return float(given or get_settings().DEDUP_TTL)
    # The window says when to run; then the job may have to wait for a worker.
    return float(given or 0) + get_settings().DEDUP_TTL


def pause(app: Celery, seconds: float) -> float:
    """Return the countdown with which a job waits for quiet.

    A little late, so that a burst of calls wakes it once; and so short that the broker does not
    deliver its message twice.
    """
    return min(seconds * 1.1, seconds + 1, visibility_timeout(app) / 2)


def kept_key(key: str, id: str) -> str:
    """Return where the arguments of a job that runs are kept, for it may be delivered again."""
    return f"{key}:{id}"


def pack(task: "OptimizedTask", call: Call) -> bytes:
    """Serialise a call as its message would be.

    Raises:
        kombu.exceptions.EncodeError: for what cannot be serialised.
    """
    args, kwargs, options = call
    kept = {name: value for name, value in options.items() if name not in OBJECTS}
    for name in ENTITIES & kept.keys():
        kept[name] = getattr(kept[name], "name", kept[name])
    for name in TIMES:
        if isinstance(kept.get(name), datetime):
            kept[name] = kept[name].isoformat()
    serializer = options.get("serializer") or task.serializer
    kind, encoding, payload = dumps([list(args), dict(kwargs), kept], serializer)
    body: str | bytes = payload  # bytes for pickle and msgpack
    return f"{kind}\n{encoding}\n".encode() + (body.encode() if isinstance(body, str) else body)


def unpack(app: Celery, packed: bytes) -> Call:
    """Return a call, if the app accepts how it is serialised.

    Raises:
        kombu.exceptions.ContentDisallowed: if it does not.
    """
    kind, encoding, payload = packed.split(b"\n", 2)
    accept = prepare_accept_content(app.conf.accept_content)
    args, kwargs, options = loads(payload, kind.decode(), encoding.decode(), accept=accept)
    return args, kwargs, options


def _fixed(task: "OptimizedTask", options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options that mean the same when the job is sent later: times count from the call."""
    fixed = dict(options)
    now = task.app.now()
    if countdown := fixed.pop("countdown", None):
        fixed["eta"] = now + timedelta(seconds=countdown)
    expires = fixed.get("expires", task.expires)
    if isinstance(expires, Real):
        fixed["expires"] = now + timedelta(seconds=float(expires))
    return fixed


around_fork(after_in_child=_untold.clear)
