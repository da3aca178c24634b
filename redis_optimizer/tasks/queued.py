"""Count what is queued: plain messages, envelopes, and the jobs in those."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from celery import Celery

from redis_optimizer.tasks.envelope import SUFFIX, batch_queue, plain_queue, read
from redis_optimizer.tasks.lists import Lists, broker_lists

__all__ = [
    "Queued",
    "Unacked",
    "count_queued",
    "count_unacked",
    "find_queues",
    "find_steps",
    "is_known",
]

PAGE: Final = 20
"""Envelopes that are read at a time; each may have MAX_MESSAGE_BYTES."""


Unacked = Mapping[tuple[str, int], int]
"""The number of envelopes that workers have, or had when they were killed: by queue and step."""


@dataclass(slots=True)
class Queued:
    """What one queue holds at one step of priority.

    Attributes:
        plain: Messages of one job each.
        envelopes: Messages of many.
        jobs: Jobs in those.
        unreadable: Envelopes that cannot be read.
        unacked: Envelopes that are with workers, or were left by killed ones.
    """

    queue: str
    priority: int
    plain: int = 0
    envelopes: int = 0
    jobs: int = 0
    unreadable: int = 0
    unacked: int = 0


def find_queues(app: Celery) -> list[str]:
    """Return the queues that the app names, and any other for which envelopes are queued.

    Raises:
        kombu.exceptions.OperationalError: when the broker cannot be reached.
    """
    names = {name for name in app.amqp.queues if plain_queue(name) is None}
    with broker_lists(app) as lists:
        if lists is not None:
            pattern = f"{lists.key('*' + SUFFIX, 0)}*"
            for key in lists.client.scan_iter(pattern, count=1000, _type="list"):
                names.add(lists.queue_of(key).removesuffix(SUFFIX))
    return sorted(names)


def find_steps(app: Celery) -> list[int]:
    """Return the steps of priority of the app's broker.

    Raises:
        kombu.exceptions.OperationalError: when the broker cannot be reached.
    """
    with broker_lists(app) as lists:
        return [] if lists is None else list(lists.steps)


def is_known(app: Celery, queue: str) -> bool:
    """Tell whether the app names a queue, or the broker has it: something in it, or a binding.

    Raises:
        kombu.exceptions.OperationalError: when the broker cannot be reached.
    """
    if queue in app.amqp.queues:
        return True
    with broker_lists(app) as lists:
        if lists is None:
            return False
        keys = lists.names(queue) + lists.names(batch_queue(queue))
        return bool(lists.client.exists(*keys)) or lists.is_bound(queue)


def count_unacked(app: Celery) -> Unacked:
    """Count the envelopes that workers have, or had when they were killed.

    Raises:
        kombu.exceptions.OperationalError: when the broker cannot be reached.
    """
    found: dict[bytes, tuple[str, int]] = {}  # a scan may come upon one twice
    with broker_lists(app) as lists:
        for tag, routing_key, step in lists.unacknowledged() if lists else ():
            queue = plain_queue(routing_key)
            if queue is not None:
                found[tag] = queue, step
    return Counter(found.values())


def count_queued(
    app: Celery,
    queue: str,
    report: Callable[[Queued], Any] | None = None,
    unacked: Unacked | None = None,
) -> list[Queued]:
    """Count what a queue holds at each step of priority. Workers may take of it meanwhile.

    Args:
        app: Whose broker.
        queue: The queue.
        report: Called after each envelope.
        unacked: What `count_unacked` found.

    Returns:
        One for each step that holds something.

    Raises:
        kombu.exceptions.OperationalError: when the broker cannot be reached.
    """
    found: list[Queued] = []
    with broker_lists(app) as lists:
        if lists is None:
            return found
        for step in lists.steps:
            queued = Queued(queue, step, plain=_length(lists, lists.key(queue, step)))
            queued.unacked = (unacked or {}).get((queue, step), 0)
            for size in _sizes(lists, lists.key(batch_queue(queue), step)):
                queued.envelopes += 1
                queued.jobs += size or 0
                queued.unreadable += size is None
                if report is not None:
                    report(queued)
            if queued.plain or queued.envelopes or queued.unacked:
                found.append(queued)
    return found


def _sizes(lists: Lists, key: str) -> Iterator[int | None]:
    """Yield the number of jobs in each envelope; None for one that cannot be read."""
    for start in range(0, _length(lists, key), PAGE):
        contents: Any = lists.client.lrange(key, start, start + PAGE - 1)
        for content in contents:
            try:
                message = lists.read(content)
                yield len(read(message.body, message.content_type, message.content_encoding))
            except ValueError:
                yield None


def _length(lists: Lists, key: str) -> int:
    length: Any = lists.client.llen(key)
    return int(length)
