"""A job as it leaves the process."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

from kombu.compression import decompress
from kombu.serialization import loads

__all__ = ["Arguments", "Message", "decode"]

Arguments = tuple[list[Any], dict[str, Any], dict[str, Any]]
"""What a job is called with, by position and by name, and what is to follow it."""


@dataclass(frozen=True, slots=True)
class Message:
    """One Celery message: serialised, routed, and not yet sent.

    Args:
        id: Id of the job.
        task: Name of its task.
        body: The serialised arguments, compressed if the task says so.
        content_type: How they are serialised, as ``application/json``.
        content_encoding: ``utf-8``, or ``binary`` when `body` is bytes.
        headers: Headers of Celery's message protocol 2.
        properties: ``correlation_id``, ``reply_to``, ``delivery_mode``, ``expiration``.
        exchange: "" for the anonymous exchange, where `routing_key` is the queue's name.
        routing_key: Where to.
        priority: As the transport means it: on Redis 0 is the highest.
        declare: kombu entities to declare before it is sent; they do not travel in an envelope.
        size: About how many bytes it takes on its way; 0 where nobody has measured it.
    """

    id: str
    task: str
    body: str | bytes
    content_type: str
    content_encoding: str
    headers: dict[str, Any]
    properties: dict[str, Any]
    exchange: str
    routing_key: str
    priority: int
    declare: tuple[Any, ...] = ()
    size: int = 0

    def again(self) -> "Message":
        """Return it marked as one that has been delivered before, as the broker would mark it."""
        return replace(
            self,
            headers=self.headers | {"redelivered": True},
            properties=self.properties | {"delivery_info": {"redelivered": True}},
        )


def decode(
    body: str | bytes,
    content_type: str,
    content_encoding: str,
    compression: str | None,
    accept: Collection[str] | None,
) -> Arguments:
    """Return what the body of a job holds.

    Args:
        body: See :class:`Message`.
        content_type: See :class:`Message`.
        content_encoding: See :class:`Message`.
        compression: The header of that name; None where the body is not compressed.
        accept: Content types that may be decoded, as kombu prepares them.

    Raises:
        Exception: It cannot be decoded.
    """
    if compression and isinstance(body, bytes):
        body = decompress(body, compression)
    args, kwargs, embed = loads(body, content_type, content_encoding, accept=accept)
    return args, kwargs, embed or {}
