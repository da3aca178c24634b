"""Locks on the broker's server: each holds the id of the job that stands for its duplicates."""

import hashlib
import logging
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, TypeVar

import redis
from celery import Celery
from kombu.exceptions import OperationalError
from kombu.utils.functional import retry_over_time
from redis.exceptions import NoScriptError, ResponseError

from redis_optimizer.tasks.kombu import broker_client

__all__ = ["Script", "acquire", "extend", "perform", "release", "release_many"]

logger = logging.getLogger("redis_optimizer.tasks")

T = TypeVar("T")

REMEMBERED: Final = 1_000
"""Locks that may have been left behind by a process and that it still means to release."""


class Script:
    """A script that is sent in full only to a server that does not know it yet.

    Args:
        text: In Lua.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.digest = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()

    def __call__(self, client: "redis.Redis", keys: Sequence[str], *args: str | int) -> Any:
        """Run it and return what it returns."""
        try:
            return client.evalsha(self.digest, len(keys), *keys, *args)
        except NoScriptError:
            # Not EVAL: kombu's `global_keyprefix` reaches the keys of EVALSHA only.
            client.script_load(self.text)
            return client.evalsha(self.digest, len(keys), *keys, *args)


# Before Redis 7, SET takes NX or GET.
ACQUIRE: Final = Script("""
if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then
    return false
end
return redis.call('GET', KEYS[1])
""")

# Whatever the mode: where the latest arguments are kept, the lock is a hash.
HELD: Final = """
local function held(key)
    local kind = redis.call('TYPE', key).ok
    if kind == 'hash' then
        return redis.call('HGET', key, 'id')
    end
    return kind == 'string' and redis.call('GET', key)
end
"""

RELEASE: Final = Script(
    HELD
    + """
local released = 0
for i, key in ipairs(KEYS) do
    if held(key) == ARGV[i] then
        released = released + redis.call('DEL', key)
    end
end
return released
"""
)

EXTEND: Final = Script(
    HELD
    + """
local id = held(KEYS[1])
if not id then
    if ARGV[3] == 'hash' then
        redis.call('HSET', KEYS[1], 'id', ARGV[1], 'runs', 1)
    else
        redis.call('SET', KEYS[1], ARGV[1])
    end
elseif id ~= ARGV[1] then
    return 0
end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
"""
)

_doubtful: Final[deque[tuple[Celery, str, str]]] = deque(maxlen=REMEMBERED)
_set_has_both = True


def perform(
    app: Celery, action: Callable[["redis.Redis"], T], *, policy: dict[str, Any] | None = None
) -> T | None:
    """Run commands on the broker's server, with the retries that Celery publishes with.

    Args:
        app: Whose broker.
        action: Takes the client. It may run again after a lost reply.
        policy: Celery's ``retry_policy``; None for the app's; empty for no retries.

    Returns:
        What the action returns; None when the broker is not Redis.

    Raises:
        kombu.exceptions.OperationalError: when the server cannot be reached or refuses.
    """
    if policy is None:
        policy = app.conf.task_publish_retry_policy if app.conf.task_publish_retry else {}
    if not policy:
        return _attempt(app, action)
    names = ("max_retries", "interval_start", "interval_step", "interval_max")
    options = {name: policy[name] for name in names if name in policy}
    result: T | None = retry_over_time(
        _attempt, (OperationalError,), args=[app, action], **options
    )
    return result


def acquire(
    app: Celery, key: str, id: str, ttl: float, *, policy: dict[str, Any] | None = None
) -> str | None:
    """Take a lock, or learn who has it.

    Args:
        app: Whose broker's server keeps it.
        key: Its name.
        id: The job that wants it.
        ttl: Seconds after which it lapses.
        policy: As for `perform`.

    Returns:
        The id of the job that has the lock: `id` itself when it was free or its own. None when
        the broker is not Redis.

    Raises:
        kombu.exceptions.OperationalError: when the server cannot be reached.
    """
    px = milliseconds(ttl)
    return attempt_lock(app, key, id, lambda client: _set(client, key, id, px), policy=policy)


def attempt_lock(
    app: Celery,
    key: str,
    id: str,
    action: Callable[["redis.Redis"], T],
    *,
    policy: dict[str, Any] | None = None,
) -> T | None:
    """Run what takes a lock; when its reply is lost, release later what it may have taken."""
    _release_doubtful(app)
    try:
        return perform(app, action, policy=policy)
    except OperationalError:
        _doubtful.append((app, key, id))
        raise


def release(app: Celery, key: str, id: str) -> None:
    """Give a lock back, if a job has it, whatever the mode: one command, which never raises."""
    release_many(app, [(key, id)])


def release_many(app: Celery, locks: Iterable[tuple[str, str]]) -> None:
    """Give locks back with one command, which never raises.

    Args:
        app: Whose broker's server keeps them.
        locks: The key of each with the id of the job that has it; others are left alone.
    """
    locks = list(locks)
    if not locks:
        return
    keys, ids = zip(*locks, strict=True)
    try:
        perform(app, lambda client: RELEASE(client, keys, *ids))
    except OperationalError as error:
        _doubtful.extend((app, key, id) for key, id in locks)
        logger.warning("Locks of jobs are not released and lapse later: %s", error)


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
        perform(app, lambda client: EXTEND(client, [key], id, milliseconds(ttl), kind))
    except OperationalError as error:
        logger.warning("The lock of job %s may lapse before it is over: %s", id, error)


def milliseconds(seconds: float) -> int:
    """Return a lifetime as Redis takes it."""
    return max(1, round(seconds * 1000))


def text(value: Any) -> Any:
    """Return what a server sent, as text: kombu's clients do not decode."""
    return value.decode() if isinstance(value, bytes) else value


def _attempt(app: Celery, action: Callable[["redis.Redis"], T]) -> T | None:
    try:
        with broker_client(app) as client:
            return None if client is None else action(client)
    except (redis.RedisError, OSError) as error:  # what the transport does not translate
        raise OperationalError(str(error)) from error


def _set(client: "redis.Redis", key: str, id: str, px: int) -> str:
    global _set_has_both
    if _set_has_both:
        try:
            return text(client.set(key, id, nx=True, get=True, px=px) or id)
        except ResponseError as error:
            if "syntax" not in str(error):
                raise
            _set_has_both = False
    return text(ACQUIRE(client, [key], id, px) or id)


def _release_doubtful(app: Celery) -> None:
    mine = [each for each in list(_doubtful) if each[0] is app]
    if not mine:
        return
    perform(app, lambda client: RELEASE(client, [m[1] for m in mine], *(m[2] for m in mine)))
    for each in mine:
        if each in _doubtful:
            _doubtful.remove(each)
