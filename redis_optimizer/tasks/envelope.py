"""The envelope: one Celery message that carries many jobs.

What the jobs have in common is written once. Envelopes travel in a queue of their own beside that
of their jobs, which only workers with redis_optimizer consume: any other would throw them away.
"""

from collections.abc import Sequence
from typing import Any, Final

from celery import Celery
from kombu.serialization import dumps, loads
from kombu.utils.uuid import uuid

from redis_optimizer.conf import get_settings
from redis_optimizer.tasks.message import Message
from redis_optimizer.tasks.packed import VERSION, Jobs, NewerVersion, named, pack, unpack

__all__ = [
    "NAME",
    "SUFFIX",
    "NewerVersion",
    "batch_queue",
    "envelope_message",
    "named",
    "pack",
    "packed_in",
    "plain_queue",
    "read",
    "unpack",
]

NAME: Final = "redis_optimizer.batch"
"""Name of the task that an envelope is a message of."""

SUFFIXES: Final = {1: ".batches"}
"""Of the queues in which the envelopes of each version of the format travel."""

# A worker that cannot read an envelope must not get it, while old and new ones run side by side: so
# a new version needs a queue of its own, and none is announced for it by those who do not know it.
SUFFIX: Final = SUFFIXES[VERSION]
CONTENT_TYPE: Final = "application/json"
MOST_SAID: Final = 300  # characters of an error; some quote what they met

ESCAPES: Final = 16
"""Bytes that a byte of MAX_MESSAGE_BYTES may become in JSON, with room to spare."""

LEAST_BOUND: Final = 8 * 1024**2
"""Bytes of an envelope that are always read: another process's MAX_MESSAGE_BYTES may be larger. In
memory, lists of nothing take thirty times as many."""


def batch_queue(queue: str) -> str:
    """Return the queue in which envelopes for a queue travel."""
    return queue + SUFFIX


def plain_queue(queue: str) -> str | None:
    """Return the queue whose envelopes travel in `queue`; None when it is not one of those."""
    return queue.removesuffix(SUFFIX) if queue.endswith(SUFFIX) else None


def envelope_message(app: Celery, messages: Sequence[Message]) -> Message:
    """Make the message that carries others, which go to one queue at one priority.

    Args:
        app: Whose jobs they are.
        messages: One or more; the caller sees to it that they are not too many or too long.
    """
    first, identity = messages[0], uuid()
    made = app.amqp.as_task_v2(
        identity,
        NAME,
        args=(pack(messages),),
        argsrepr=f"({len(messages)} x {first.task})",  # the default would print all of them
        kwargsrepr="{}",
        ignore_result=True,
    )
    content_type, content_encoding, body = dumps(made.body, serializer="json")
    mode = first.properties.get("delivery_mode")
    return Message(
        id=identity,
        task=NAME,
        body=body,
        content_type=content_type,
        content_encoding=content_encoding,
        headers=made.headers,
        properties=made.properties | ({} if mode is None else {"delivery_mode": mode}),
        exchange="",
        routing_key=batch_queue(first.routing_key),
        priority=first.priority,
    )


def read(body: Any, content_type: Any, content_encoding: Any) -> Jobs:
    """Return the jobs in the body of an envelope's message.

    Raises:
        NewerVersion: it is one that a later release has made.
        ValueError: it is not an envelope; the text says why.
    """
    return Jobs(packed_in(body, content_type, content_encoding))


def packed_in(body: Any, content_type: Any, content_encoding: Any) -> Any:
    """Return what the body of an envelope's message holds, whatever that is.

    Raises:
        ValueError: it cannot be decoded, or is too large.
    """
    most = max(LEAST_BOUND, ESCAPES * get_settings().MAX_MESSAGE_BYTES)
    if isinstance(body, str | bytes) and len(body) > most:
        raise ValueError(f"it has more than {most} bytes")
    try:
        # Whatever a site accepts in jobs: this is JSON of our own.
        args = loads(body, content_type, content_encoding, accept={CONTENT_TYPE})[0]
        fault = "" if len(args) == 1 else f"it has {len(args)} arguments"
        packed = None if fault else args[0]
    except Exception as error:  # a decoder may raise anything for what is not its own
        fault = repr(error)[:MOST_SAID]
    if fault:
        args = None  # of an error that is kept for a while, it is kept as well
        raise ValueError(f"it cannot be decoded: {fault}")
    return packed
