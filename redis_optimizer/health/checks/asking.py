"""Ask a server something through a pool, and wait no longer than is said."""

from collections.abc import Sequence
from time import monotonic
from typing import Any

from redis.connection import ConnectionPool
from redis.exceptions import TimeoutError as RedisTimeoutError

from redis_optimizer.connections import channel_connection

__all__ = ["ask"]


def ask(
    pool: ConnectionPool,
    *commands: Sequence[str | bytes | int],
    timeout: float,
    greet: bool = True,
) -> list[Any]:
    """Send commands over a connection of a pool, in one round trip.

    Args:
        pool: The pool.
        commands: Each one as its words.
        timeout: Seconds that the answers may take.
        greet: See first that the server answers, where the pool would wait for ever for it; not
            needed when it has just been heard.

    Returns:
        The answers, in order.

    Raises:
        redis.exceptions.RedisError: when the pool has no connection to lend, the server cannot be
            reached, does not answer in time, or refuses a command.
    """
    if greet and pool.connection_kwargs.get("socket_timeout") is None:
        # To connect takes answers, too, for which such a pool may wait for ever. A server that is
        # heard on a connection of our own will give them.
        _greet(pool, timeout)
    connection: Any = pool.get_connection()
    try:
        connection.send_packed_command(connection.pack_commands(commands), check_health=False)
        ends = monotonic() + timeout
        return [_read(connection, ends - monotonic()) for _ in commands]
    except BaseException:
        # An answer that is still on its way must not be read as one to somebody else's command.
        connection.disconnect()
        raise
    finally:
        pool.release(connection)


def _greet(pool: ConnectionPool, timeout: float) -> None:
    connection = channel_connection(pool, timeout=timeout)
    try:
        connection.send_command("PING", check_health=False)
        connection.read_response()
    finally:
        connection.disconnect()


def _read(connection: Any, seconds: float) -> Any:
    if not connection.can_read(max(0, seconds)):
        raise RedisTimeoutError("The server does not answer.")
    return connection.read_response()
