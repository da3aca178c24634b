"""What a producer has left in the broker's queues."""

import base64
import json
from typing import Any

import redis

from redis_optimizer.tasks.envelope import NAME, batch_queue, read
from redis_optimizer.tasks.message import Message


def messages(client: redis.Redis, queue: str = "celery") -> list[dict[str, Any]]:
    """Return the messages of a queue, the first to be delivered first."""
    found = client.lrange(queue, 0, -1)
    assert isinstance(found, list)
    return [json.loads(each) for each in reversed(found)]


def ids(client: redis.Redis, queue: str = "celery") -> list[str]:
    """Return the ids of the jobs that travel singly in a queue."""
    return [each["headers"]["id"] for each in messages(client, queue)]


def arguments(message: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """Return what a message calls its task with."""
    args, kwargs, _ = json.loads(base64.b64decode(message["body"]))
    return args, kwargs


def envelopes(client: redis.Redis, queue: str = "celery") -> list[list[Message]]:
    """Return the jobs of each envelope for a queue."""
    found = messages(client, batch_queue(queue))
    assert all(each["headers"]["task"] == NAME for each in found)
    return [
        read(base64.b64decode(each["body"]), each["content-type"], each["content-encoding"])
        for each in found
    ]
