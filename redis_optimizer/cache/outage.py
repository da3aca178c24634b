"""A server that does not answer: noticed by whoever asks, and left alone until it does.

Every command that a cache sends to a server goes through that server's `Guard`, where
``BREAKER_AFTER`` or ``STALE_IF_ERROR`` is on. All caches and threads of the process share it. While
the part is switched off it lets everything pass.
"""

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

from django.core.signals import setting_changed
from redis.connection import ConnectionPool
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    RedisError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from redis_optimizer.cache.options import PART
from redis_optimizer.conf import get_settings
from redis_optimizer.connections import channel_connection, is_busy, is_lent_out, server_of
from redis_optimizer.core.breaker import Breaker, State
from redis_optimizer.core.forks import around_fork
from redis_optimizer.signals import server_found, server_lost
from redis_optimizer.switches import is_on, on_change

__all__ = [
    "Guard",
    "Outcome",
    "ServerUnavailable",
    "breaker_state",
    "find_guard",
    "guard_of",
    "guards",
    "noted",
]

logger = logging.getLogger("redis_optimizer.cache")

PROBE_NAME: Final = "redis_optimizer:probe"
PROBE_TIMEOUT: Final = 2.0
"""Seconds that a probe waits for an answer."""

_OUTAGES: Final = (RedisConnectionError, RedisTimeoutError, OSError)
_ANSWERS: Final = (AuthenticationError, AuthorizationError)
"""Errors of connection that the server itself reports: it lives."""


class ServerUnavailable(RedisConnectionError):
    """The server did not answer before, and is not asked now."""


class Outcome:
    """How the last command of a block of code went."""

    __slots__ = ("failed_at",)

    def __init__(self) -> None:
        self.failed_at: Guard | None = None
        """The guard of the server that did not answer it; None when it was answered."""


class Guard:
    """What the commands of all caches to one server go through.

    Args:
        pool: To that server.
        breaker_after: See ``REDIS_OPTIMIZER["BREAKER_AFTER"]``; 0: it only takes note.
    """

    def __init__(self, pool: ConnectionPool, breaker_after: int) -> None:
        self.server = _name(pool)
        """Where it is, as logs name it."""
        self.stale_served = 0
        """Reads answered from what was known before, since the breaker opened."""
        self._pool = pool
        self._now = time.monotonic
        self._breaker = self._make_breaker(breaker_after) if breaker_after else None

    @property
    def state(self) -> State | None:
        """The state of the breaker; None where there is none, or the part is switched off."""
        return self._breaker.state if self._breaker is not None and is_on(PART) else None

    def run(self, send: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """Send a command, unless the server is known not to answer.

        Raises:
            ServerUnavailable: when it is.
            redis.exceptions.RedisError: whatever ``send`` raises.
        """
        if not is_on(PART):
            return send(*args, **options)
        breaker = self._breaker
        if breaker is not None and not breaker.admits():
            self._note(failed=True)
            raise ServerUnavailable(f"{self.server} does not answer, and is not asked for a while.")
        began = self._now()
        try:
            reply = send(*args, **options)
        except (RedisError, OSError) as error:
            self._judge(error, began)
            raise
        # A pipeline may be told to raise nothing. That of a server that answers nobody has that
        # error in the place of each reply.
        if reply.__class__ is list and reply and is_busy(reply[0]):
            self._judge(reply[0], began)
            return reply
        if breaker is not None:
            breaker.succeed()
        self._note(failed=False)
        return reply

    def answered(self) -> None:
        """Take note that the server answered somebody else."""
        if self._breaker is not None:
            self._breaker.succeed()

    def on_switched(self) -> None:
        """Stand aside, or begin anew, as the switch of the part now says."""
        if self._breaker is not None:
            self._breaker.forget()

    def reset(self) -> None:
        """Begin anew, in a forked child."""
        self.stale_served = 0
        if self._breaker is not None:
            self._breaker.reset()

    def _judge(self, error: Exception, began: float) -> None:
        if not is_on(PART):  # it was switched off meanwhile
            return
        is_outage = isinstance(error, _OUTAGES) and not isinstance(error, _ANSWERS)
        is_outage = is_outage or is_busy(error)
        self._note(failed=is_outage)
        if self._breaker is None or is_lent_out(error):
            return
        if is_outage:
            self._breaker.fail(began, f"{type(error).__name__}: {error}")
        else:
            self._breaker.succeed()

    def _note(self, *, failed: bool) -> None:
        outcome: Outcome | None = getattr(_noting, "outcome", None)
        if outcome is not None:
            outcome.failed_at = self if failed else None

    # The breaker

    def _make_breaker(self, after: int) -> Breaker:
        return Breaker(after, probe=self._probe, on_open=self._tell_lost, on_close=self._tell_found)

    def _probe(self) -> bool:
        try:
            threading.Thread(target=self._ask, name=PROBE_NAME, daemon=True).start()
        except RuntimeError:  # no more threads, or the interpreter is shutting down
            return False
        return True

    def _ask(self) -> None:
        # On a connection of its own: those of the pool retry for as long as they were told to.
        began = self._now()
        try:
            connection = channel_connection(self._pool, timeout=PROBE_TIMEOUT)
            try:
                connection.send_command("PING")
                connection.read_response()
            finally:
                connection.disconnect()
        except Exception as error:
            self._judge(error, began)
        else:
            self.answered()

    def _tell_lost(self, reason: str) -> None:
        self.stale_served = 0
        logger.warning(
            "Redis at %s does not answer (%s). Until it does, the caches do not ask it: their "
            "calls fail at once.",
            self.server,
            reason,
        )
        server_lost.send_robust(sender=Guard, reason=f"{self.server}: {reason}")

    def _tell_found(self, seconds: float, refused: int) -> None:
        logger.info(
            "Redis at %s answers again, after %.1f s. Meanwhile %d commands were not sent, and %d "
            "reads answered from what was known before.",
            self.server,
            seconds,
            refused,
            self.stale_served,
        )
        server_found.send_robust(sender=Guard, server=self.server, seconds=seconds)


@contextlib.contextmanager
def noted() -> Iterator[Outcome]:
    """Yield what tells whether the last command of this block, in this thread, had an answer."""
    outer: Outcome | None = getattr(_noting, "outcome", None)
    _noting.outcome = outcome = Outcome()
    try:
        yield outcome
    finally:
        _noting.outcome = outer


_noting = threading.local()
_guards: dict[tuple[object, ...], Guard] = {}


def guard_of(pool: ConnectionPool) -> Guard:
    """Return the guard of the server behind a pool, made now if need be."""
    guard = find_guard(pool)
    if guard is None:
        guard = Guard(pool, get_settings().BREAKER_AFTER)
        guard = _guards.setdefault(_identity(pool), guard)  # another thread may have been faster
    return guard


def find_guard(pool: ConnectionPool) -> Guard | None:
    """Return the guard of the server behind a pool, if there is one."""
    return _guards.get(_identity(pool))


def breaker_state(pool: ConnectionPool) -> str:
    """Return how it is with the server behind a pool; "off" where no breaker does its work."""
    guard = find_guard(pool)
    if guard is not None:
        return guard.state or "off"
    return "closed" if get_settings().BREAKER_AFTER and is_on(PART) else "off"


def guards() -> list[Guard]:
    """Return the guards of this process."""
    return list(_guards.values())


def _identity(pool: ConnectionPool) -> tuple[object, ...]:
    # Under Sentinel, the pools of a master and its replicas differ in nothing else.
    return (*server_of(pool), getattr(pool, "is_master", True))


def _name(pool: ConnectionPool) -> str:
    options = pool.connection_kwargs
    if hasattr(pool, "service_name"):
        which = "master" if getattr(pool, "is_master", True) else "replicas"
        return f"{pool.service_name} ({which})"
    if "path" in options:
        return str(options["path"])
    return f"{options.get('host', 'localhost')}:{options.get('port', 6379)}"


def _after_fork_in_child() -> None:
    for guard in guards():
        guard.reset()


def _forget(*, setting: str, **kwargs: object) -> None:
    if setting in ("CACHES", "REDIS_OPTIMIZER"):
        _guards.clear()


def _switch() -> None:
    for guard in guards():
        guard.on_switched()


on_change(PART, _switch)
setting_changed.connect(_forget, dispatch_uid="redis_optimizer.cache.outage")
around_fork(after_in_child=_after_fork_in_child)
