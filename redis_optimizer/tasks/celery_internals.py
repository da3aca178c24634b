"""What Celery and kombu do not document, beside ``tasks/kombu/``: one small function each.

A contract test holds each of it: ``tests/contracts/test_celery.py``.
"""

import sys
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from queue import Empty
from typing import Any

import redis
from celery.app import trace
from kombu.exceptions import OperationalError

__all__ = [
    "channel_client",
    "close_when_lost",
    "consuming_channel",
    "current_greenlet",
    "dump_models",
    "extend_rows",
    "filter_queues",
    "has_own_tracer",
    "is_under_sentinel",
    "is_waiting",
    "note_waits",
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
        kombu.exceptions.OperationalError: when the broker cannot be reached, or refuses a command,
            in the block.
    """
    try:
        with channel.conn_or_acquire() as client:
            # kombu's own puts `global_keyprefix` before the keys of some commands only.
            yield redis.Redis(connection_pool=client.connection_pool)
    except redis.RedisError as error:
        raise OperationalError(str(error)) from error


def consuming_channel(consumer: Any) -> Any | None:
    """Return the channel on which a worker waits for jobs; None where the broker is not Redis."""
    if consumer.connection.transport.driver_type != "redis":
        return None
    return consumer.task_consumer.channel


def close_when_lost(channel: Any) -> None:
    """Have a channel that has lost its connection while it waits for a job close all the same.

    As kombu closes it, it reads the answer that it waits for. That fails, and what it should have
    done next, it does when the transport is gone: with an error that ends the worker, if there are
    messages to put back. Celery seldom meets it: a worker that has taken all it may does not wait.
    One with envelopes does.

    Args:
        channel: Of kombu's Redis transport.
    """
    read = channel._brpop_read

    def read_to_close(**options: Any) -> Any:
        try:
            return read(**options)
        except channel.connection.connection_errors as error:
            raise Empty from error  # which close() takes for no answer

    channel._brpop_read = read_to_close  # the poller has a reference of its own


def filter_queues(channel: Any, choose: Callable[[list[str]], list[str]]) -> None:
    """Have a channel wait for jobs in some of its queues only.

    To cancel a queue and to consume it again would cost commands.

    Args:
        channel: Of kombu's Redis transport.
        choose: Called with the queues, as a wait begins; returns those to wait for.
    """
    cycle = channel._queue_cycle
    consume = cycle.consume
    cycle.consume = lambda count: choose(consume(count))


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


def note_waits(channel: Any, begin: Callable[[], None]) -> None:
    """Have a function called whenever a channel begins to wait for a job.

    Args:
        channel: Of kombu's Redis transport.
        begin: The function.
    """
    start = channel._brpop_start

    def noted(*args: Any, **options: Any) -> Any:
        begin()
        return start(*args, **options)

    channel._brpop_start = noted


def is_under_sentinel(channel: Any) -> bool:
    """Tell whether Sentinel names the server of a channel."""
    from kombu.transport import redis as transport

    return isinstance(channel, transport.SentinelChannel)


def extend_rows(backend: Any, extend: Callable[[dict[str, Any], Any], None]) -> None:
    """Have a backend of django-celery-results add to what it writes in rows.

    Args:
        backend: It.
        extend: Called with the fields of a row, and the request of the job or None.
    """
    describe = backend._get_extended_properties

    def extended(request: Any, traceback: str | None) -> dict[str, Any]:
        row: dict[str, Any] = describe(request, traceback)
        extend(row, request)
        return row

    backend._get_extended_properties = extended


def current_greenlet() -> Any:
    """Return the greenlet that runs this, as the pools of gevent and eventlet make them.

    Both are of the library ``greenlet``, and have a ``kill()`` that waits until they have ended.
    """
    library = sys.modules.get("greenlet")
    return library.getcurrent() if library else None


def dump_models(
    task: Any, args: tuple[Any, ...], kwargs: dict[str, Any], options: Mapping[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the arguments of a call with the models that Celery dumps before it sends them.

    It does so since 5.7, for tasks with ``pydantic=True``.

    Args:
        task: The task.
        args: Positional arguments of the call.
        kwargs: Keyword arguments of the call.
        options: Options of the call.
    """
    dump = getattr(task, "_dump_pydantic_arguments", None)
    if dump is None or options.get("serializer", task.serializer) == "pickle":
        return args, kwargs
    dumped: tuple[tuple[Any, ...], dict[str, Any]] = dump(args, kwargs)
    return dumped


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
