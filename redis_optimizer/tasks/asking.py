"""Ask the broker something, and wait no longer than is said."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import redis
from celery import Celery
from kombu.exceptions import OperationalError

from redis_optimizer.tasks.lists import Lists

__all__ = ["asking", "is_redis"]


def is_redis(app: Celery) -> bool:
    """Tell whether an app's broker is Redis, without connecting to it."""
    with app.connection_for_write() as connection:
        return bool(connection.transport.driver_type == "redis")


@contextmanager
def asking(app: Celery, timeout: float) -> Iterator[Lists]:
    """Lend the lists of an app's broker, over a connection of our own, closed afterwards.

    Those of the app may wait for ever for a server that does not answer, as may a thread for one
    of them.

    Args:
        app: Whose broker, which is Redis.
        timeout: Seconds to connect, and seconds that an answer may take.

    Raises:
        kombu.exceptions.OperationalError: when the broker cannot be reached, or does not answer in
            time, in the block as well.
    """
    options = {
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout,
        "health_check_interval": 0,  # a PING before the first command
    }
    try:
        with app.connection_for_write(transport_options=options) as connection:
            # Else kombu waits 2 s before its second attempt, at the next server where there are
            # more: whoever asks would be told nothing but that it took too long.
            connection.ensure_connection(max_retries=1, interval_start=0)
            channel: Any = connection.channel()
            # The client that kombu has just tried the server with: another would connect again,
            # and a PrefixedStrictRedis puts `global_keyprefix` before the keys of some commands.
            pool = channel.client.connection_pool
            yield Lists(redis.Redis(connection_pool=pool), channel)
    except (redis.RedisError, OSError) as error:
        raise OperationalError(str(error)) from error
