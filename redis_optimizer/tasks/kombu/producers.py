"""The app's producers, and the broker behind them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar

import redis
from celery import Celery

from redis_optimizer.connections import counting

__all__ = [
    "broker_client",
    "count_broker",
    "ensure",
    "pooled_producer",
    "sweep_seldom",
    "visibility_timeout",
]

T = TypeVar("T")

RETRIES: Final = 1
"""Attempts after a lost connection, which may be no more than one that the server had closed."""

RETRY_OPTIONS: Final = ("max_retries", "interval_start", "interval_step", "interval_max")

DEFAULT_VISIBILITY_TIMEOUT: Final = 3600.0  # seconds: that of kombu's Redis transport


def pooled_producer(app: Celery) -> Any:
    """Return what lends one of the app's producers for a block.

    Not `app.producer_or_acquire`, which a batch() answers itself.

    Args:
        app: Whose broker.
    """
    return app.producer_pool.acquire(block=True)


def ensure(app: Celery, act: Callable[[Any], T]) -> T:
    """Do something with a pooled producer, and once more when its connection was lost.

    Args:
        app: Whose broker.
        act: Takes the producer.

    Raises:
        kombu.exceptions.OperationalError: when the broker cannot be reached, or refuses.
    """
    producer: Any
    with _ready_producer(app) as producer:
        ensured: Callable[[], T] = producer.connection.ensure(
            producer, lambda: act(producer), max_retries=RETRIES, interval_start=0
        )
        return ensured()


@contextmanager
def broker_client(app: Celery) -> "Iterator[redis.Redis | None]":
    """Lend a client of the broker's server, over a pooled connection.

    Args:
        app: Whose broker.

    Yields:
        The client, or None when the broker is not Redis.

    Raises:
        kombu.exceptions.OperationalError: when the broker cannot be reached, in the block as well.
    """
    producer: Any
    with _ready_producer(app) as producer:
        connection = producer.connection
        with connection._reraise_as_library_errors():
            if connection.transport.driver_type != "redis":
                yield None
                return
            with producer.channel.conn_or_acquire() as client:
                # kombu's own puts `global_keyprefix` before the keys of some commands only.
                yield redis.Redis(connection_pool=client.connection_pool)


@contextmanager
def _ready_producer(app: Celery) -> Iterator[Any]:
    """Lend a pooled producer that connects as often as Celery would publish.

    kombu goes by these options when it connects, and by ones with longer waits where nobody has
    set them: its own `publish` does, but for the one that captures.
    """
    with pooled_producer(app) as producer:
        policy = app.conf.task_publish_retry_policy or {}
        producer.connection.transport_options.update(
            {name: policy[name] for name in RETRY_OPTIONS if name in policy}
        )
        yield producer


def visibility_timeout(app: Celery) -> float:
    """Return the seconds after which the broker delivers an unacknowledged message again."""
    options = app.conf.broker_transport_options or {}
    return float(options.get("visibility_timeout") or DEFAULT_VISIBILITY_TIMEOUT)


def sweep_seldom(seconds: float) -> None:
    """Have this process look for bindings of queues that are gone that often, not once a minute.

    Whatever listens for remote control does so: it was a quarter of what an idle worker
    sends.
    """
    from kombu.transport import redis as transport

    transport.BINDING_SWEEP_INTERVAL = seconds  # type: ignore[attr-defined]  # since kombu 5.7


def count_broker() -> None:
    """Count the commands of the connections to brokers that this process makes from now on.

    Those over a Unix socket are not: kombu names the class of these in the midst of a method.
    """
    from kombu.transport import redis as transport

    for channel in (transport.Channel, transport.SentinelChannel):
        for name in ("connection_class", "connection_class_ssl"):
            setattr(channel, name, counting(getattr(channel, name), "broker"))
