"""Hear the events that workers send of themselves and of their jobs, and tell who else does.

On Redis an event is a PUBLISH: to hear them costs no command but that which subscribes.
"""

import json
import re
from base64 import b64decode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import redis
from kombu.serialization import loads

from redis_optimizer.tasks.lists import Lists

__all__ = ["Ear", "hearing", "listeners"]

MAX_HEARD: Final = 10_000
"""Events that are read at most: there may be more of them than there is time."""

GOSSIP: Final = "worker.#"
"""What gossip binds its queue by; monitors want more than workers tell of themselves."""

JSON: Final = "application/json"

_GLOB: Final = re.compile(r"[*?\[\]\\]")
_ESCAPED: Final = r"\\\g<0>"

Event = Mapping[str, Any]


class Ear:
    """A subscription to all events.

    Args:
        pubsub: Subscribed.
    """

    def __init__(self, pubsub: Any) -> None:
        self._pubsub = pubsub

    def read(self) -> list[list[Event]]:
        """Return what was published: for each message the events that it carries.

        Of one that is not JSON there are none: it is counted, not read.

        Raises:
            redis.RedisError: the connection is lost; so it is when too much was published.
        """
        messages: list[list[Event]] = []
        while len(messages) < MAX_HEARD and (message := self._pubsub.get_message(timeout=0)):
            if message["type"] == "pmessage":
                messages.append(_events(message["data"]))
        return messages


@contextmanager
def hearing(lists: Lists, exchange: str, timeout: float) -> Iterator[Ear]:
    """Hear all events from here on.

    Args:
        lists: Of the broker.
        exchange: That of the events: ``event_exchange``.
        timeout: Seconds that the subscription may take.

    Raises:
        redis.RedisError: the server cannot be reached, or refuses.
    """
    pubsub = lists.client.pubsub()
    try:
        pubsub.psubscribe(f"{_GLOB.sub(_ESCAPED, lists.topic(exchange))}*")
        if pubsub.get_message(timeout=timeout) is None:
            raise redis.TimeoutError("no answer to PSUBSCRIBE")
        yield Ear(pubsub)
    finally:
        pubsub.close()


def listeners(lists: Lists, exchange: str) -> tuple[int, int]:
    """Return how many monitors listen to events, and how many workers gossip.

    One that was killed is counted until its binding is taken away, which may be never.

    Raises:
        redis.RedisError: the server cannot be reached, or refuses.
    """
    keys = [routing_key for routing_key, _ in lists.bindings(exchange)]
    gossips = keys.count(GOSSIP)
    return len(keys) - gossips, gossips


def _events(data: Any) -> list[Event]:
    try:
        message = json.loads(data)
        body = message["body"]
        if message["properties"].get("body_encoding") == "base64":
            body = b64decode(body)
        content = loads(body, message["content-type"], message["content-encoding"], accept={JSON})
    except Exception:  # of another serializer, or none of Celery's
        return []
    events = content if isinstance(content, list) else [content]
    return [event for event in events if isinstance(event, Mapping)]
