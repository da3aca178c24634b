"""How much is queued: messages, in one round trip and without reading any."""

from collections.abc import Mapping
from dataclasses import dataclass

from celery import Celery

from redis_optimizer.tasks.asking import asking
from redis_optimizer.tasks.envelope import batch_queue, plain_queue

__all__ = ["Depths", "measure"]


@dataclass(frozen=True, slots=True)
class Depths:
    """How much is queued.

    Attributes:
        queues: Messages by queue, those of its envelopes among them.
        unacked: Messages that workers have, or had when they were killed.
    """

    queues: Mapping[str, int]
    unacked: int


def measure(app: Celery, timeout: float) -> Depths:
    """Count the messages in the queues that an app knows.

    Args:
        app: Whose broker, which is Redis.
        timeout: Seconds that the answer may take.

    Raises:
        kombu.exceptions.OperationalError: when the broker does not answer.
    """
    queues = sorted(name for name in app.amqp.queues if plain_queue(name) is None)
    with asking(app, timeout) as lists:
        names = {queue: lists.names(queue) + lists.names(batch_queue(queue)) for queue in queues}
        with lists.client.pipeline(transaction=False) as pipeline:
            for queue in queues:
                for name in names[queue]:
                    pipeline.llen(name)
            pipeline.hlen(lists.unacked_key)
            *lengths, unacked = pipeline.execute()
    found = iter(lengths)
    return Depths({queue: sum(next(found) for _ in names[queue]) for queue in queues}, unacked)
