"""Who opens envelopes of a queue: workers say so in Redis, producers ask.

Each queue has a sorted set of workers, whose scores say when their word lapses.
"""

import logging
import time
from collections.abc import Iterable
from threading import Lock
from typing import Any, Final
from weakref import WeakKeyDictionary

from celery import Celery
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from redis_optimizer.conf import get_settings
from redis_optimizer.tasks.celery_internals import channel_client
from redis_optimizer.tasks.kombu import broker_client

__all__ = ["REFRESH", "announce", "is_opened", "others", "withdraw"]

logger = logging.getLogger(__name__)

REFRESH: Final = 300.0  # seconds between two announcements: they are most of an idle worker's cost
LAPSE: Final = 3 * REFRESH
YES_HOLDS: Final = 30.0  # seconds that a producer goes by an answer
NO_HOLDS: Final = 5.0

_answers: "WeakKeyDictionary[Any, dict[str, tuple[bool, float]]]" = WeakKeyDictionary()
_lock = Lock()


def is_opened(app: Celery, queue: str) -> bool:
    """Tell whether a live worker opens envelopes of a queue.

    Redis is asked every 30 s at most, every 5 s when the answer was no. When it becomes no after
    it was yes, the envelopes that no worker may take any more are divided.

    Args:
        app: Whose broker.
        queue: Of the jobs.

    Returns:
        False on any error, too.
    """
    with _lock:
        answers = _answers.setdefault(app, {})
        known = answers.get(queue)
        now = time.monotonic()
        if known is not None and now < known[1]:
            return known[0]
        # Others go by this one while it is renewed.
        answers[queue] = (known is not None and known[0], now + NO_HOLDS)
    answer = _ask(app, queue)
    held = YES_HOLDS if answer else NO_HOLDS
    answers[queue] = (bool(answer), time.monotonic() + held)
    if answer is False and known is not None and known[0]:
        _divide(app, queue)
    return bool(answer)


def announce(app: Celery, worker: str, queues: Iterable[str], channel: Any = None) -> None:
    """Say that a worker opens envelopes of queues, for the next 15 minutes.

    Args:
        app: Whose broker.
        worker: The worker's name.
        queues: Of the jobs.
        channel: Of a Redis connection that is there; None: one of the app's pool is kept for it.

    Raises:
        kombu.exceptions.OperationalError: when the broker cannot be reached.
    """
    now = time.time()
    with broker_client(app) if channel is None else channel_client(channel) as client:
        if client is None:
            return
        with client.pipeline(transaction=False) as pipeline:
            for queue in queues:
                pipeline.zadd(_key(queue), {worker: now + LAPSE})
                # Should all workers be killed, nothing of theirs stays for ever.
                pipeline.expire(_key(queue), int(2 * LAPSE))
            pipeline.execute()


def withdraw(app: Celery, worker: str, queues: Iterable[str]) -> None:
    """Take back what a worker announced.

    Raises:
        kombu.exceptions.OperationalError: when the broker cannot be reached.
    """
    with broker_client(app) as client:
        if client is None:
            return
        with client.pipeline(transaction=False) as pipeline:
            for queue in queues:
                pipeline.zrem(_key(queue), worker)
                pipeline.zremrangebyscore(_key(queue), "-inf", time.time())
            pipeline.execute()


def others(app: Celery, queue: str) -> int:
    """Return how many workers open envelopes of a queue.

    Raises:
        kombu.exceptions.OperationalError: when the broker cannot be reached.
    """
    with broker_client(app) as client:
        return int(client.zcount(_key(queue), time.time(), "+inf")) if client else 0


def _ask(app: Celery, queue: str) -> bool | None:
    try:
        return others(app, queue) > 0
    except (OperationalError, RedisError, OSError) as error:
        logger.debug("Who opens envelopes of %s is unknown: %s", queue, error)
        return None


def _divide(app: Celery, queue: str) -> None:
    from redis_optimizer.tasks.explode import explode  # it imports what imports this

    try:
        explode(app, queue)
    except (OperationalError, RedisError, OSError) as error:
        logger.warning("Envelopes of queue %s were not divided: %s", queue, error)


def _key(queue: str) -> str:
    return f"redis_optimizer:{get_settings().NAMESPACE}:openers:{queue}"
