"""What Celery and kombu do not document, beside ``tasks/kombu.py``: one small function each.

A contract test holds each of it: ``tests/contracts/test_celery.py``.
"""

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import redis
from celery.app import trace
from kombu.exceptions import OperationalError

__all__ = [
    "channel_client",
    "consuming_channel",
    "has_own_tracer",
    "is_waiting",
    "override",
    "receivers_of",
    "set_wait",
    "wait_of",
    "waiting_connection",
]


@contextmanager
def channel_client(channel: Any) -> "Iterator[redis.Redis]":
    """Lend a client over the connection that a channel acknowledges on.

    Raises:
        kombu.exceptions.OperationalError: when the broker cannot be reached, in the block.
    """
    try:
        with channel.conn_or_acquire() as client:
            yield client
    except (redis.ConnectionError, redis.TimeoutError) as error:
        raise OperationalError(str(error)) from error


def consuming_channel(consumer: Any) -> Any | None:
    """Return the channel on which a worker waits for jobs; None where the broker is not Redis."""
    if consumer.connection.transport.driver_type != "redis":
        return None
    return consumer.task_consumer.channel


def wait_of(channel: Any) -> float:
    """Return the seconds that a channel waits for jobs at a time; 0 is for ever."""
    return float(channel.brpop_timeout or 0)


def set_wait(channel: Any, seconds: float) -> None:
    """Have a channel wait for jobs that long at a time, from the next wait on."""
    channel.brpop_timeout = seconds


def waiting_connection(channel: Any) -> Any:
    """Return the connection on which a channel will wait for jobs, before it has done so."""
    client = channel.client
    if client.connection is None:
        # As kombu's poller does, which then finds it here.
        client.connection = client.connection_pool.get_connection()
    return client.connection


def is_waiting(channel: Any) -> bool:
    """Tell whether a channel has asked for a job and not read the answer."""
    return bool(channel._in_poll)


def override(conf: Any, name: str, value: Any) -> None:
    """Set a setting of an app, whatever its settings module says.

    Before Celery 5.7 what a namespace brought (``CELERY_...``) comes before what is set later.
    """
    conf[name] = value
    if conf.prefix:
        conf[f"{conf.prefix}{name}".upper()] = value


def has_own_tracer(task: Any) -> bool:
    """Tell whether something wraps the function that traces a task's jobs, as Sentry does."""
    return getattr(task.__trace__, "__globals__", None) is not vars(trace)


def receivers_of(signal: Any) -> Iterator[Any]:
    """Return what listens to a signal of Celery's, to any sender's."""
    for _, receiver in signal.receivers:
        if isinstance(receiver, weakref.ReferenceType):
            receiver = receiver()
        if receiver is not None:
            yield receiver
