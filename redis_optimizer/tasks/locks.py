"""Locks on the broker's server: each holds the id of the job that stands for its duplicates."""

import contextlib
import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

import redis
from celery import Celery
from kombu.exceptions import OperationalError
from kombu.utils.functional import retry_over_time
from redis.exceptions import ResponseError

from redis_optimizer.tasks import scripts
from redis_optimizer.tasks.kombu.producers import broker_client

__all__ = [
    "acquire",
    "extend",
    "milliseconds",
    "perform",
    "release",
    "release_all",
    "take",
    "text",
]

logger = logging.getLogger("redis_optimizer.tasks")

T = TypeVar("T")

Action = Callable[["redis.Redis"], T]

REMEMBERED: Final = 1_000
"""Locks that this process may have left behind and still means to release."""

_left_behind: Final[deque[tuple[Celery, str, str]]] = deque(maxlen=REMEMBERED)
_set_takes_both = True  # NX and GET: from Redis 7 on


def acquire(
    app: Celery, key: str, id: str, ttl: float, options: Mapping[str, Any] | None = None
) -> str | None:
    """Take a lock, or learn who has it, with one command.

    Args:
        app: Whose broker's server keeps it.
        key: Its name.
        id: The job that wants it.
        ttl: Seconds after which it lapses.
        options: Of the call; its ``retry`` and ``retry_policy`` hold here as well.

    Returns:
        The id of the job that has the lock: `id` itself when it was free or its own. None when
        the broker is not Redis.

    Raises:
        kombu.exceptions.OperationalError: when the server cannot be reached.
    """
    return take(app, key, id, lambda client: _set(client, key, id, milliseconds(ttl)), options)


def take(
    app: Celery, key: str, id: str, action: Action[T], options: Mapping[str, Any] | None = None
) -> T | None:
    """Run commands that take a lock for a job; they may run again after a lost reply.

    When the last reply is lost too, or a signal interrupts the wait for it, as at a time limit,
    the lock may have been taken all the same: it is released with the next call that this process
    makes.
    """
    _release_left_behind(app)
    try:
        return perform(app, action, options)
    except BaseException:
        _left_behind.append((app, key, id))
        raise


def release(app: Celery, key: str, id: str) -> None:
    """Give a lock back, if a job has it: one command, in any mode, which never raises.

    Args:
        app: Whose broker's server keeps it.
        key: Its name.
        id: The job that has it.
    """
    release_all(app, [(key, id)])


def release_all(app: Celery, held: Sequence[tuple[str, str]]) -> None:
    """Give locks back, those that their jobs have: as `release`, one command for all.

    Args:
        app: Whose broker's server keeps them.
        held: The name of each, and the job that has it.
    """
    try:
        perform(app, lambda client: _release(client, held))
    except OperationalError as error:
        _left_behind.extend((app, key, id) for key, id in held)
        ids = ", ".join(id for _, id in held)
        logger.warning("The lock of job %s is released later, or lapses: %s", ids, error)


def extend(app: Celery, key: str, id: str, ttl: float, *, kind: str = "string") -> None:
    """Let a lock lapse later, or take it again if it has lapsed: one command, which never raises.

    Args:
        app: Whose broker's server keeps it.
        key: Its name.
        id: The job that has it; if another has it by now, it is left alone.
        ttl: Seconds from now after which it lapses.
        kind: "hash" where the latest arguments are kept, else "string".
    """
    try:
        perform(app, lambda c: scripts.EXTEND(c, [key], id, milliseconds(ttl), kind))
    except OperationalError as error:
        logger.warning("The lock of job %s may lapse before it is over: %s", id, error)


def perform(app: Celery, action: Action[T], options: Mapping[str, Any] | None = None) -> T | None:
    """Run commands on the broker's server, and again as Celery would publish again.

    Args:
        app: Whose broker.
        action: Takes the client.
        options: Of a call; its ``retry`` and ``retry_policy`` hold.

    Returns:
        What the action returns; None when the broker is not Redis.

    Raises:
        kombu.exceptions.OperationalError: when the server cannot be reached, or refuses.
    """
    options = options or {}
    retry = options.get("retry")
    policy: dict[str, Any] = {"max_retries": 0}
    if app.conf.task_publish_retry if retry is None else retry:
        policy = {**app.conf.task_publish_retry_policy, **(options.get("retry_policy") or {})}
    names = ("max_retries", "interval_start", "interval_step", "interval_max")
    try:
        result: T | None = retry_over_time(
            _attempt,
            (_Lost,),
            args=[app, action],
            **{name: policy[name] for name in names if name in policy},
        )
    except _Lost as lost:
        raise OperationalError(str(lost.__cause__)) from lost.__cause__
    return result


def milliseconds(seconds: float) -> int:
    """Return a lifetime as Redis takes it."""
    return max(1, round(seconds * 1000))


def text(value: Any) -> str:
    """Return what a server sent: kombu's clients do not decode."""
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


class _Lost(Exception):
    """A connection broke. One that cannot be made at all kombu has tried often enough."""


def _attempt(app: Celery, action: Action[T]) -> T | None:
    try:
        with broker_client(app) as client:
            try:
                return None if client is None else action(client)
            except (redis.ConnectionError, redis.TimeoutError) as error:
                raise _Lost from error
    except redis.RedisError as error:  # a refusal, which kombu does not translate
        raise OperationalError(str(error)) from error


def _set(client: "redis.Redis", key: str, id: str, px: int) -> str:
    global _set_takes_both
    if _set_takes_both:
        try:
            return text(client.set(key, id, nx=True, get=True, px=px) or id)
        except ResponseError as error:
            if "syntax" not in str(error):
                raise
            _set_takes_both = False
    return text(scripts.ACQUIRE(client, [key], id, px) or id)


def _release(client: "redis.Redis", locks: Sequence[tuple[str, str]]) -> Any:
    return scripts.RELEASE(client, [key for key, _ in locks], *(id for _, id in locks))


def _release_left_behind(app: Celery) -> None:
    mine = [each for each in list(_left_behind) if each[0] is app]
    if not mine:
        return
    perform(app, lambda client: _release(client, [(key, id) for _, key, id in mine]))
    for each in mine:
        with contextlib.suppress(ValueError):  # another thread has done so
            _left_behind.remove(each)
