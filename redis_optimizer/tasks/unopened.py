"""What becomes of an envelope that a worker cannot open, and of its jobs."""

import logging
from collections.abc import Mapping
from itertools import islice
from typing import Final

from celery import Celery
from celery.app.task import Context
from kombu.message import Message as ReceivedMessage

from redis_optimizer.tasks.envelope import NAME, named, packed_in
from redis_optimizer.tasks.losses import report
from redis_optimizer.tasks.message import Message

__all__ = ["as_it_came", "jobs_named", "tell_failed"]

logger = logging.getLogger(__name__)

TOLD: Final = 1_000  # jobs of one envelope of which each is told


def as_it_came(received: ReceivedMessage) -> Message:
    """Return the message to send so that another worker receives this very envelope."""
    delivery, priority = received.delivery_info, received.properties.get("priority")
    return Message(
        id=received.headers["id"],
        task=NAME,
        body=received.body or "",
        content_type=str(received.content_type),
        content_encoding=str(received.content_encoding),
        headers=dict(received.headers),
        properties=dict(received.properties),
        exchange="",
        routing_key=delivery["routing_key"],
        priority=priority if isinstance(priority, int) else 0,
    )


def jobs_named(message: ReceivedMessage) -> dict[str, str]:
    """Return the jobs of a malformed envelope, as far as they can be told: their tasks by id."""
    try:
        packed = packed_in(message.body, message.content_type, message.content_encoding)
    except ValueError:  # it is not even that
        return {}
    return named(packed)


def tell_failed(app: Celery, jobs: Mapping[str, str], reason: Exception) -> None:
    """Tell of jobs that nobody will do: somebody may wait for them.

    Args:
        app: The worker's.
        jobs: The name of the task of each job, by the job's id.
        reason: What is wrong with them.
    """
    lost = dict(islice(jobs.items(), TOLD))
    report(lost, reason=f"{reason}.")
    for identity, name in lost.items():
        try:
            app.backend.mark_as_failure(identity, reason, request=Context(task=name))
        except Exception as error:
            logger.error("The failure of job %s could not be stored: %r", identity, error)
            return  # nor could those of the others
