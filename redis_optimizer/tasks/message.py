"""A job as it leaves the process."""

from dataclasses import dataclass, replace
from typing import Any

__all__ = ["Message"]


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
