"""The sending of messages that were captured: as few commands as the broker allows."""

from collections import deque
from collections.abc import Sequence
from typing import Any, Final

import redis
from celery import Celery
from kombu.exceptions import ChannelError, OperationalError

from redis_optimizer.core.limits import pass_time_limit
from redis_optimizer.tasks.kombu.producers import ensure
from redis_optimizer.tasks.message import Message

__all__ = ["PartlySent", "send"]

LPUSH_VALUES: Final = 1_000
"""Messages in one LPUSH: a server does nothing else while it takes them in."""


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


def send(app: Celery, messages: Sequence[Message]) -> None:
    """Send messages: with one command for each list of the broker, where it is Redis.

    Other transports and a broker with ``retry_on_timeout`` get one command a message, as ever.
    When it raises, some messages may have been sent.

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
