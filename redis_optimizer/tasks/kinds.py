"""Which jobs leave together, and when."""

from dataclasses import dataclass
from typing import Final

from celery import Celery

from redis_optimizer.tasks.message import Message

__all__ = ["DEDUP_HEADER", "Kind", "Terms", "message_size"]

DEDUP_HEADER: Final = "redis_optimizer_dedup"
"""The message header that holds a job's dedup key."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What jobs that leave together have in common.

    Args:
        app: The Celery app, and with it the broker.
        task: Name of the task; "" for messages that leave side by side, not in one envelope.
        exchange: Where to, as in `Message`.
        routing_key: Where to, as in `Message`.
        priority: As in `Message`.
        content: How the arguments are serialised and compressed.
        block: Id of the ``batch()`` that holds them until it ends; 0 for none.
    """

    app: Celery
    task: str = ""
    exchange: str = ""
    routing_key: str = ""
    priority: int = 0
    content: tuple[str, str] = ("", "")
    block: int = 0

    @classmethod
    def of(cls, app: Celery, message: Message) -> "Kind":
        """Return the kind of a job that may share an envelope."""
        return cls(
            app=app,
            task=message.task,
            exchange=message.exchange,
            routing_key=message.routing_key,
            priority=message.priority,
            content=(message.content_type, message.headers.get("compression") or ""),
        )


@dataclass(frozen=True, slots=True)
class Terms:
    """When the jobs of a kind leave.

    Args:
        size: Jobs that leave together.
        max_bytes: Bytes that leave together.
        timeout: Seconds that a job waits at most.
        delay: The least time in seconds between two departures.
    """

    size: int
    max_bytes: int
    timeout: float
    delay: float = 0.0


def message_size(message: Message) -> int:
    """Return about how many bytes a message takes on its way."""
    return message.size or len(message.body)
