"""Count what is queued: plain messages, envelopes, and the jobs in those."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from celery import Celery

from redis_optimizer.tasks.envelope import SUFFIX, batch_queue, plain_queue, read
from redis_optimizer.tasks.lists import Lists, broker_lists

__all__ = ["Queued", "count_queued", "find_queues"]

PAGE: Final = 20
"""Envelopes that are read at a time; each may have MAX_MESSAGE_BYTES."""


@dataclass(slots=True)
class Queued:
    """What one queue holds at one step of priority.

    Attributes:
        plain: Messages of one job each.
        envelopes: Messages of many.
        jobs: Jobs in those.
        unreadable: Envelopes that cannot be read.
    """

    queue: str
    priority: int
    plain: int = 0
    envelopes: int = 0
    jobs: int = 0
    unreadable: int = 0


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


def count_queued(
    app: Celery, queue: str, report: Callable[[Queued], Any] | None = None
) -> list[Queued]:
    """Count what a queue holds at each step of priority. Workers may take of it meanwhile.

    Args:
        app: Whose broker.
        queue: The queue.
        report: Called after each page of envelopes.

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
            for size in _sizes(lists, lists.key(batch_queue(queue), step)):
                queued.envelopes += 1
                queued.jobs += size or 0
                queued.unreadable += size is None
                if report is not None:
                    report(queued)
            if queued.plain or queued.envelopes:
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
