"""A key that is written to see whether its invalidation arrives."""

from typing import Final

from redis.connection import ConnectionPool

from redis_optimizer.connections import channel_connection

__all__ = ["write_probe"]

LIFETIME: Final = 1000
"""Milliseconds."""


def write_probe(pool: ConnectionPool, key: str, timeout: float) -> None:
    """Write a key that lives for a second, on a connection of its own.

    While others read, the pool would open one more connection for this, and keep it.

    Args:
        pool: The pool that the data goes through.
        key: The key.
        timeout: Seconds that it may take.

    Raises:
        redis.exceptions.RedisError, OSError: when the connection is lost, or the server refuses.
    """
    connection = channel_connection(pool, protocol=2, timeout=timeout)  # it needs no HELLO
    try:
        connection.send_command("SET", key, "", "PX", LIFETIME)
        connection.read_response()
    finally:
        connection.disconnect()
