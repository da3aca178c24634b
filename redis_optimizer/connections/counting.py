"""Count the commands that this process sends, by what its connections are for.

A pool whose connections shall count gets a class of connections for it; no method of redis-py is
replaced. A command is counted when it is sent: a repetition again, each command of a pipeline by
itself, MULTI, EXEC and the handshake as well. The server counts the same; and also what a script
calls, but not a command that it does not know, such as some that redis-py 8 tries when it connects.
"""

import threading
from collections.abc import Iterable
from functools import cache
from typing import Any, ClassVar, Final, Literal
from weakref import WeakSet

from redis.connection import AbstractConnection, ConnectionPool

from redis_optimizer.conf import get_settings
from redis_optimizer.core.forks import around_fork
from redis_optimizer.internals import is_connected

__all__ = [
    "PURPOSES",
    "Purpose",
    "connects",
    "count_pool",
    "counting",
    "disregard",
    "open_connections",
    "sent",
    "uncounted",
]

Purpose = Literal["cache", "channel", "broker", "results"]

PURPOSES: Final[tuple[Purpose, ...]] = ("cache", "channel", "broker", "results")
"""The caches that are a ``TieredCache``, with all that uses their pools; the channels, and what
asks other processes through them; Celery's broker, with locks of jobs; its results in Redis.

Not counted: caches of other backends whose ``LOCATION`` no TieredCache has, a broker on a Unix
socket, results under Sentinel, and clients of the site's own.
"""


class _Tally:
    """What was counted for one purpose. Threads may lose a count to each other, at worst."""

    __slots__ = ("connections", "connects", "lock", "sent")

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.sent = 0
        self.connects = 0
        # Reentrant, as a signal may interrupt it with a call of a task. A new one, as another
        # thread of the parent may have held the old one.
        self.lock = threading.RLock()
        self.connections: WeakSet[AbstractConnection] = WeakSet()

    def count_open(self) -> int:
        with self.lock:
            connections = list(self.connections)
        return sum(map(is_connected, connections))


_tallies: Final[dict[Purpose, _Tally]] = {purpose: _Tally() for purpose in PURPOSES}


class _Counting:
    """What is put before a class of connections."""

    tally: ClassVar[_Tally]
    uncounted: ClassVar[type[AbstractConnection]]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        with self.tally.lock:
            self.tally.connections.add(self)  # type: ignore[arg-type]  # mixed in
        self.register_connect_callback(self._count_connect)  # type: ignore[attr-defined]

    def _count_connect(self, connection: object) -> None:
        self.tally.connects += 1

    def send_command(self, *args: Any, **kwargs: Any) -> Any:
        self.tally.sent += 1
        return super().send_command(*args, **kwargs)  # type: ignore[misc]

    def pack_commands(self, commands: Iterable[Iterable[Any]]) -> Any:
        commands = list(commands)
        self.tally.sent += len(commands)
        return super().pack_commands(commands)  # type: ignore[misc]


def _make(connection_class: type[AbstractConnection], purpose: Purpose) -> Any:
    is_heir = issubclass(connection_class, _Counting)
    return type(
        connection_class.__name__,
        (connection_class,) if is_heir else (_Counting, connection_class),
        {
            "__module__": connection_class.__module__,  # it is shown where a pool is
            "tally": _tallies[purpose],
            "uncounted": connection_class,
        },
    )


_made: Final = cache(_make)


def counting(connection_class: Any, purpose: Purpose) -> Any:
    """Return a class of connections like the given one, whose commands are counted.

    Args:
        connection_class: Of redis-py, or of another that was made from it.
        purpose: What its connections are for; of one that counts already, another purpose.
    """
    given = uncounted(connection_class)
    # kombu makes an heir of ours for each channel, which must not be kept for ever.
    return (_make if issubclass(given, _Counting) else _made)(given, purpose)


def uncounted(connection_class: Any) -> Any:
    """Return the class that one which counts was made from; any other as it is."""
    return vars(connection_class).get("uncounted", connection_class)


def count_pool(pool: ConnectionPool | None, purpose: Purpose) -> None:
    """Let the connections count that the pool makes from now on.

    With ``ENABLED`` False it does nothing. A pool that counts already keeps its purpose; one of
    the site's own that has no class of connections, and no pool at all, are left alone.
    """
    given = getattr(pool, "connection_class", None)
    if not isinstance(given, type) or issubclass(given, _Counting) or not get_settings().ENABLED:
        return
    pool.connection_class = counting(given, purpose)  # type: ignore[union-attr]  # it has one


def disregard(connection: AbstractConnection) -> None:
    """Leave a connection out of those that are open: it is closed in a moment.

    What it sends is counted all the same.
    """
    if isinstance(connection, _Counting):
        with connection.tally.lock:
            connection.tally.connections.discard(connection)


def sent() -> dict[str, int]:
    """Return the commands that this process sent, by purpose."""
    return {purpose: tally.sent for purpose, tally in _tallies.items()}


def connects(purpose: Purpose) -> int:
    """Return how often connections for a purpose were made, or made anew."""
    return _tallies[purpose].connects


def open_connections() -> dict[str, int]:
    """Return the connections that this process has open, by purpose."""
    return {purpose: tally.count_open() for purpose, tally in _tallies.items()}


def _reset() -> None:
    for tally in _tallies.values():
        tally.reset()


around_fork(after_in_child=_reset)
