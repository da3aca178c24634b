"""The pool of a Celery result backend."""

from typing import Any

from redis.connection import BlockingConnectionPool, ConnectionPool

from redis_optimizer.conf import get_settings
from redis_optimizer.connections.counting import count_pool

__all__ = ["result_pool"]


def result_pool(*, max_connections: int | None = None, **options: Any) -> ConnectionPool:
    """Make a pool whose threads wait for a connection, where their number is limited.

    redis-py's own, which there is with ``ENABLED`` False, raises an error when all are lent.

    Args:
        max_connections: How many connections there may be; None: any number.
        options: Of the pool. A thread waits for as long as ``socket_timeout``, in seconds.
    """
    if max_connections and get_settings().ENABLED:
        pool: ConnectionPool = BlockingConnectionPool(
            max_connections=max_connections, timeout=options.get("socket_timeout"), **options
        )
    else:
        pool = ConnectionPool(max_connections=max_connections, **options)
    count_pool(pool, "results")
    return pool
