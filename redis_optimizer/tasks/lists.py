"""The lists that a Redis broker keeps a queue in, one for each step of priority."""

import json
from bisect import bisect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any, Final

import redis
from celery import Celery
from kombu.exceptions import OperationalError
from kombu.message import Message as ReceivedMessage
from kombu.utils.json import dumps
from kombu.utils.uuid import uuid

from redis_optimizer.tasks.message import Message

__all__ = ["Lists", "broker_lists", "channel_lists"]


UNACKED_PAGE: Final = 20
"""Messages that are read at a time; each may have MAX_MESSAGE_BYTES."""


class Lists:
    """The lists of one broker.

    Args:
        client: Of its server.
        channel: kombu's, for its options.
    """

    def __init__(self, client: redis.Redis, channel: Any) -> None:
        self.client = client
        self._channel = channel
        self.steps: Sequence[int] = channel.priority_steps
        """The priorities that have lists; a message goes to that at or below its own."""

    @property
    def unacked_key(self) -> str:
        """The name of the hash of the messages that workers have, or had."""
        return f"{self._channel.global_keyprefix}{self._channel.unacked_key}"

    @property
    def received_key(self) -> str:
        """The name of the sorted set of when those were received."""
        return f"{self._channel.global_keyprefix}{self._channel.unacked_index_key}"

    def topic(self, exchange: str) -> str:
        """Return how the names of the channels begin that an exchange publishes to."""
        return f"{self._channel.global_keyprefix}{self._channel.keyprefix_fanout}{exchange}"

    def bindings(self, exchange: str) -> Iterator[tuple[str, str]]:
        """Yield routing key and queue of what is bound to an exchange."""
        key = f"{self._channel.global_keyprefix}{self._channel.keyprefix_queue % exchange}"
        for member in self.client.sscan_iter(key, count=1000):
            routing_key, _, queue = member.decode().split(self._channel.sep)
            yield routing_key, queue

    def key(self, queue: str, step: int) -> str:
        """Return the name of the list of a queue and a step of priority."""
        name = f"{queue}{self._channel.sep}{step}" if step else queue
        return f"{self._channel.global_keyprefix}{name}"

    def step_of(self, priority: Any) -> int:
        """Return the step that messages of a priority go to; 0 for what is no priority."""
        number = priority if isinstance(priority, int) else 0
        return self.steps[max(0, bisect(self.steps, number) - 1)]

    def queue_of(self, key: bytes) -> str:
        """Return the queue that a list is of."""
        name = key.decode().removeprefix(self._channel.global_keyprefix)
        return name.split(self._channel.sep, 1)[0]

    def names(self, queue: str) -> list[str]:
        """Return the names of all lists of a queue."""
        return [self.key(queue, step) for step in self.steps]

    def is_bound(self, queue: str) -> bool:
        """Tell whether an exchange is bound to a queue, as it is once somebody consumes it."""
        pattern = f"{self._channel.global_keyprefix}{self._channel.keyprefix_queue % '*'}"
        end = f"{self._channel.sep}{queue}".encode()
        bindings: Any = self.client.scan_iter(pattern, count=1000, _type="set")
        return any(
            member.endswith(end)
            for key in bindings
            for member in self.client.sscan_iter(key, f"*{queue}", count=1000)
        )

    def unacknowledged(self) -> Iterator[tuple[bytes, str, int]]:
        """Yield tag, routing key and step of each message that a worker has or had.

        Those of killed workers come back into their queues when the visibility timeout is over.
        """
        for tag, content in self.client.hscan_iter(self.unacked_key, count=UNACKED_PAGE):
            try:
                message, _, routing_key = json.loads(content)
                yield tag, str(routing_key), self.step_of(message["properties"].get("priority"))
            except (AttributeError, LookupError, RecursionError, TypeError, ValueError):
                continue  # not a message of kombu's

    def due(self, most: int) -> Iterator[tuple[bytes, str, str]]:
        """Yield tag, task and time of messages that wait in workers until their time has come.

        Args:
            most: Unacknowledged messages that are read.
        """
        contents = self.client.hscan_iter(self.unacked_key, count=UNACKED_PAGE)
        for tag, content in islice(contents, most):
            try:
                headers = json.loads(content)[0]["headers"]
            except (AttributeError, LookupError, RecursionError, TypeError, ValueError):
                continue
            if headers.get("eta"):
                yield tag, str(headers.get("task")), str(headers["eta"])

    def read(self, content: bytes) -> ReceivedMessage:
        """Return the message that an element of a list is.

        Raises:
            ValueError: it is none.
        """
        try:
            message: ReceivedMessage = self._channel.Message(
                json.loads(content), channel=self._channel
            )
            if not isinstance(message.headers, dict):
                raise TypeError("it has no headers")
        except (AttributeError, LookupError, RecursionError, TypeError) as error:
            raise ValueError(f"not a message of kombu's: {error!r}") from error
        return message

    def write(self, message: Message) -> str:
        """Return a message as the element that kombu would put into a list."""
        made = self._channel.prepare_message(
            message.body,
            message.priority,
            message.content_type,
            message.content_encoding,
            message.headers,
            dict(message.properties),
        )
        made["body"], encoding = self._channel.encode_body(
            made["body"], self._channel.body_encoding
        )
        made["properties"] |= {
            "body_encoding": encoding,
            "delivery_info": {"exchange": message.exchange, "routing_key": message.routing_key},
            "delivery_tag": uuid(),
        }
        return dumps(made)


@contextmanager
def broker_lists(app: Celery) -> Iterator[Lists | None]:
    """Lend the lists of an app's broker.

    Yields:
        None when the broker is not Redis.

    Raises:
        kombu.exceptions.OperationalError: when the broker cannot be reached.
    """
    producer: Any
    with app.producer_pool.acquire(block=True) as producer:
        if producer.connection.transport.driver_type != "redis":
            yield None
            return
        try:
            with channel_lists(producer.channel) as lists:
                yield lists
        except redis.RedisError as error:
            raise OperationalError(str(error)) from error


@contextmanager
def channel_lists(channel: Any) -> Iterator[Lists]:
    """Lend the lists of the Redis broker that a channel is connected to."""
    with channel.conn_or_acquire() as client:
        # kombu's own puts `global_keyprefix` before the keys of some commands only.
        yield Lists(redis.Redis(connection_pool=client.connection_pool), channel)
