"""Everything that leans on what kombu does not document.

A contract test holds each of it: ``tests/contracts/test_kombu.py``.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from copy import deepcopy
from typing import Any, Final, TypeVar
from weakref import WeakKeyDictionary

import redis
from celery import Celery
from kombu import Producer, Queue
from kombu.exceptions import ChannelError, OperationalError
from kombu.utils.json import dumps

from redis_optimizer.connections import counting
from redis_optimizer.core.limits import pass_time_limit
from redis_optimizer.tasks.message import Message

__all__ = [
    "Capture",
    "PartlySent",
    "broker_client",
    "count_broker",
    "ensure",
    "send",
    "sweep_seldom",
    "visibility_timeout",
]

T = TypeVar("T")

LPUSH_VALUES: Final = 1_000
"""Messages in one LPUSH: a server does nothing else while it takes them in."""

RETRIES: Final = 1
"""Attempts after a lost connection, which may be no more than one that the server had closed."""

RETRY_OPTIONS: Final = ("max_retries", "interval_start", "interval_step", "interval_max")

DEFAULT_VISIBILITY_TIMEOUT: Final = 3600.0  # seconds: that of kombu's Redis transport

_connections: "WeakKeyDictionary[Celery, Any]" = WeakKeyDictionary()


class Capture(Producer):
    """A producer that hands each message over instead of sending it.

    It does what kombu's own does, serialising and compressing included, up to the point where a
    channel would be needed; so an argument that cannot be serialised fails at the call.

    Who asks for its channel gets one of the app's, until the block ends, and what is published then
    is sent at once. The backend of ``rpc://`` does: as a job is called for, it declares the queue
    of the answers, which costs the round trip that waiting would save.

    Args:
        app: Whose broker the messages are for.
        take: Called with each message, in the thread that publishes it.
    """

    def __init__(self, app: Celery, take: Callable[[Message], None]) -> None:
        super().__init__(None, auto_declare=False)  # type: ignore[arg-type]  # as pools do
        self.__connection__ = _unused_connection(app)  # type: ignore[misc]  # pools set it, too
        self._app = app
        self._take = take
        self._sender: Any = None
        self._stack = ExitStack()

    def __exit__(self, *exc_info: Any) -> None:
        self._sender = None
        self._stack.__exit__(*exc_info)

    @property
    def channel(self) -> Any:  # type: ignore[override]  # nobody sets it
        """Return a channel, with which messages are sent from now on."""
        if self._sender is None:
            self._sender = self._stack.enter_context(_pooled_producer(self._app))
        return self._sender.channel

    def publish(self, body: Any, *args: Any, **options: Any) -> None:
        """Serialise a message, as `kombu.Producer.publish` does, and hand it over."""
        if self._sender is not None:
            self._sender.publish(body, *args, **options)
            return
        # A retry would be of the sending, which comes later.
        super().publish(body, *args, **(options | {"retry": False}))

    def _publish(  # type: ignore[override]  # what is not needed is taken by *args
        self,
        body: str | bytes,
        priority: int | None,
        content_type: str,
        content_encoding: str,
        headers: dict[str, Any],
        properties: dict[str, Any],
        routing_key: str,
        mandatory: bool,
        immediate: bool,
        exchange: str,
        declare: Sequence[Any],
        *args: Any,
        **kwargs: Any,
    ) -> None:
        reply_to = properties.get("reply_to")
        if isinstance(reply_to, Queue):
            properties["reply_to"] = reply_to.name
        # What cannot be serialised must fail here, for this call alone.
        about = dumps([headers, properties])
        self._take(
            Message(
                id=headers.get("id", ""),
                task=headers.get("task", ""),
                body=body,
                content_type=content_type,
                content_encoding=content_encoding,
                headers=_copied(headers),
                properties=_copied(properties),
                exchange=exchange,
                routing_key=routing_key,
                priority=_as_number(priority),
                declare=tuple(declare or ()),
                size=len(body) + len(about),
            )
        )


def _copied(values: dict[str, Any]) -> dict[str, Any]:
    """Return what a site may change before it is sent, as it is now."""
    return {
        name: deepcopy(value) if value and isinstance(value, dict | list) else value
        for name, value in values.items()
    }


class PartlySent(OperationalError):
    """The broker has taken some messages, and refuses others.

    Args:
        sent: Those that it has taken: to send them again would double them.
        unsent: The others.
    """

    def __init__(self, sent: Sequence[Message], unsent: Sequence[Message]) -> None:
        super().__init__(f"{len(unsent)} of {len(sent) + len(unsent)} messages were refused")
        self.sent = sent
        self.unsent = unsent


def _as_number(priority: Any) -> int:
    """Return a priority as kombu takes it: from 0 to 9, and 0 for what is no number."""
    try:
        return max(0, min(9, int(priority)))
    except (TypeError, ValueError):
        return 0


def send(app: Celery, messages: Sequence[Message]) -> None:
    """Send messages: with one command for each list of the broker, where it is Redis.

    Other transports, a kombu before 5.7 and a broker with ``retry_on_timeout`` get one command a
    message, as ever. When it raises, some messages may have been sent.

    Args:
        app: Whose broker they go to.
        messages: Any number, in the order in which they are to arrive.

    Raises:
        kombu.exceptions.OperationalError: when the broker cannot be reached.
        PartlySent: when it refuses what goes to some of its lists, or was lost amid them.
    """
    singly = _Singly(app, messages)

    def act(producer: Any) -> None:
        channel = producer.channel
        if hasattr(channel, "create_publish_batch") and channel.supports_batch_publish:
            _publish_all(app, producer, messages)
        else:
            singly.go_on(producer)

    try:
        ensure(app, act)
    except PartlySent:
        raise
    except Exception as error:  # of any transport, which need not know it for one of the broker's
        pass_time_limit(error)
        if not singly.sent:
            raise
        raise PartlySent(singly.sent, singly.unsent) from error


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
    with _pooled_producer(app) as producer:
        policy = app.conf.task_publish_retry_policy or {}
        producer.connection.transport_options.update(
            {name: policy[name] for name in RETRY_OPTIONS if name in policy}
        )
        yield producer


def _pooled_producer(app: Celery) -> Any:
    # Not `app.producer_or_acquire`, which a batch() answers itself.
    return app.producer_pool.acquire(block=True)


def visibility_timeout(app: Celery) -> float:
    """Return the seconds after which the broker delivers an unacknowledged message again."""
    options = app.conf.broker_transport_options or {}
    return float(options.get("visibility_timeout") or DEFAULT_VISIBILITY_TIMEOUT)


def sweep_seldom(seconds: float) -> None:
    """Have this process look for bindings of queues that are gone that often, not once a minute.

    Whatever listens for remote control does so, since kombu 5.7: it was a quarter of what an idle
    worker sends.
    """
    from kombu.transport import redis as transport

    if hasattr(transport, "BINDING_SWEEP_INTERVAL"):
        transport.BINDING_SWEEP_INTERVAL = seconds


def count_broker() -> None:
    """Count the commands of the connections to brokers that this process makes from now on.

    Those over a Unix socket are not: kombu names the class of these in the midst of a method.
    """
    from kombu.transport import redis as transport

    for channel in (transport.Channel, transport.SentinelChannel):
        for name in ("connection_class", "connection_class_ssl"):
            setattr(channel, name, counting(getattr(channel, name), "broker"))


def _unused_connection(app: Celery) -> Any:
    """Return a connection that is never opened: Celery asks it which errors to translate."""
    if app not in _connections:
        _connections[app] = app.connection_for_write()
    return _connections[app]


class _Fold:
    """Take the place of kombu's ``PublishBatch``: collect commands, and fold equal LPUSHes."""

    def __init__(self) -> None:
        self.place = 0
        """Of the message that is routed now."""
        self.lists: dict[str, list[tuple[str, int]]] = {}
        self.others: dict[tuple[str, tuple[Any, ...]], list[int]] = {}

    def add(self, name: str, *args: Any) -> None:
        """Take one command that a channel would send for the message it routes."""
        if name == "lpush":
            key, value = args
            self.lists.setdefault(key, []).append((value, self.place))
        else:
            # PEXPIRE of a queue's lists is the same for each message; PUBLISH never is.
            self.others[name, args] = [self.place] if name == "publish" else []

    def flush(self, client: "redis.Redis") -> dict[int, Exception]:
        """Send them in one round trip; return what was refused, by the place of the message."""
        places: list[list[int]] = []
        with client.pipeline(transaction=False) as pipeline:
            for key, values in self.lists.items():
                for start in range(0, len(values), LPUSH_VALUES):
                    part = values[start : start + LPUSH_VALUES]
                    pipeline.lpush(key, *(value for value, _ in part))
                    places.append([place for _, place in part])
            for (name, args), its in self.others.items():
                getattr(pipeline, name)(*args)
                places.append(its)
            answers = pipeline.execute(raise_on_error=False)
        return {
            place: answer
            for answer, its in zip(answers, places, strict=True)
            if isinstance(answer, Exception)
            for place in its
        }


class _Singly:
    """Send messages one by one, and none a second time that the broker has taken.

    Args:
        app: Whose broker.
        messages: In the order in which they are to arrive.
    """

    def __init__(self, app: Celery, messages: Sequence[Message]) -> None:
        self._app = app
        self._left = deque(messages)
        self.sent: list[Message] = []
        self._refused: list[Message] = []
        self._reason: Exception | None = None

    @property
    def unsent(self) -> list[Message]:
        """Return those that were refused, and those whose turn has not come."""
        return [*self._refused, *self._left]

    def go_on(self, producer: Any) -> None:
        """Send those that are left: what it was at when the connection was lost first.

        Raises:
            Exception: what the broker says of the first that it refuses, if it takes none.
            PartlySent: it takes others.
        """
        while self._left:
            message = self._left[0]
            try:
                _publish(self._app, producer, message)
                taken = self.sent
            except (redis.ResponseError, ChannelError) as error:
                self._reason = self._reason or error
                taken = self._refused
            taken.append(self._left.popleft())
        if self._reason is None:
            return
        if not self.sent:
            raise self._reason
        raise PartlySent(self.sent, self.unsent) from self._reason


def _publish_all(app: Celery, producer: Any, messages: Sequence[Message]) -> None:
    channel = producer.channel
    fold = _Fold()
    refused: dict[int, Exception] = {}
    closed: dict[tuple[str, str], Exception] = {}  # queues that are not asked again for each
    for place, message in enumerate(messages):
        fold.place, target = place, (message.exchange, message.routing_key)
        if target not in closed:
            try:
                _publish(app, producer, message, _publish_batch=fold)
            except redis.ResponseError as error:
                closed[target] = error
        if target in closed:
            refused[place] = closed[target]
    with channel.conn_or_acquire() as client:
        refused |= fold.flush(client)
    if not refused:
        return
    reason = next(iter(refused.values()))
    if len(refused) == len(messages):
        raise reason
    sent = [message for place, message in enumerate(messages) if place not in refused]
    raise PartlySent(sent, [messages[place] for place in sorted(refused)]) from reason


def _publish(app: Celery, producer: Any, message: Message, **options: Any) -> None:
    channel = producer.channel
    for entity in message.declare or _queue(app, message):
        producer.maybe_declare(entity)
    prepared = channel.prepare_message(
        message.body,
        message.priority,
        message.content_type,
        message.content_encoding,
        message.headers,
        # kombu writes to it, and this may not be the last attempt.
        {**message.properties, "delivery_info": {**message.properties.get("delivery_info", {})}},
    )
    channel.basic_publish(
        prepared, exchange=message.exchange, routing_key=message.routing_key, **options
    )


def _queue(app: Celery, message: Message) -> tuple[Any, ...]:
    """Return the queue that Celery would declare, once a connection, before it sends."""
    queues = app.amqp.queues
    if message.exchange or message.routing_key not in queues:
        return ()
    return (queues[message.routing_key],)
