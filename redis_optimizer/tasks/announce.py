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
from redis.exceptions import RedisError, ResponseError

from redis_optimizer.tasks.celery_internals import channel_client
from redis_optimizer.tasks.divide import divide
from redis_optimizer.tasks.envelope import batch_queue
from redis_optimizer.tasks.kombu.producers import broker_client, ensure
from redis_optimizer.tasks.lists import channel_lists
from redis_optimizer.tasks.message import Message
from redis_optimizer.tasks.names import root
from redis_optimizer.tasks.scripts import Script

__all__ = ["REFRESH", "announce", "is_opened", "others", "push", "withdraw"]

logger = logging.getLogger(__name__)

REFRESH: Final = 300.0  # seconds between two announcements: they are most of an idle worker's cost
LAPSE: Final = 3 * REFRESH
YES_HOLDS: Final = 30.0  # seconds that a producer goes by an answer
NO_HOLDS: Final = 5.0

PUSH: Final = Script("""
-- openers, list; now, envelope: 1 when a live worker opens it, else it is not taken
if redis.call('ZCOUNT', KEYS[1], ARGV[1], '+inf') == 0 then
    return 0
end
redis.call('LPUSH', KEYS[2], ARGV[2])
return 1
""")

_answers: "WeakKeyDictionary[Any, dict[str, tuple[bool, float]]]" = WeakKeyDictionary()
_lock = Lock()


def is_opened(app: Celery, queue: str) -> bool:
    """Tell whether a live worker opens envelopes of a queue.

    Redis is asked every 30 s at most, every 5 s when the answer was no: then the envelopes that
    no worker may take any more are divided, by one process of all at a time.

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
    if answer is False:
        divide(app, queue)
    return bool(answer)


def push(app: Celery, queue: str, envelope: Message) -> bool:
    """Send an envelope, if a live worker opens those of a queue: one command.

    The last worker may have stopped since `is_opened` was asked, and divided what was there: so
    the server itself looks again as it takes the envelope.

    Args:
        app: Whose broker.
        queue: Of the jobs.
        envelope: Made by `envelope_message`.

    Returns:
        False when it is not taken; then `is_opened` says no for a while, too.

    Raises:
        kombu.exceptions.OperationalError: when the broker cannot be reached.
    """

    def act(producer: Any) -> bool:
        with channel_lists(producer.channel) as lists:
            step = lists.step_of(envelope.priority)
            keys = [_key(app, queue), lists.key(batch_queue(queue), step)]
            try:
                return bool(PUSH(lists.client, keys, str(time.time()), lists.write(envelope)))
            except ResponseError as error:  # a server may not allow scripts
                logger.debug("Envelopes of queue %s are refused: %s", queue, error)
                return False

    is_taken = ensure(app, act)
    if not is_taken:
        with _lock:
            answers = _answers.setdefault(app, {})
            answers[queue] = (False, time.monotonic() + NO_HOLDS)
    return is_taken


def announce(app: Celery, worker: str, queues: Iterable[str], channel: Any = None) -> None:
    """Say that a worker opens envelopes of queues, for the next 15 minutes.

    Args:
        app: Whose broker.
        worker: The worker: unique, for two may have one name.
        queues: Of the jobs.
        channel: Of a Redis connection that is there; None: one of the app's pool is kept for it.

    Raises:
        kombu.exceptions.OperationalError: when the broker cannot be reached, or refuses.
    """
    now = time.time()
    with broker_client(app) if channel is None else channel_client(channel) as client:
        if client is None:
            return
        with client.pipeline(transaction=False) as pipeline:
            for queue in queues:
                pipeline.zadd(_key(app, queue), {worker: now + LAPSE})
                # Should all workers be killed, nothing of theirs stays for ever.
                pipeline.expire(_key(app, queue), int(2 * LAPSE))
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
                pipeline.zrem(_key(app, queue), worker)
                pipeline.zremrangebyscore(_key(app, queue), "-inf", time.time())
            pipeline.execute()


def others(app: Celery, queue: str) -> int:
    """Return how many workers open envelopes of a queue.

    Raises:
        kombu.exceptions.OperationalError: when the broker cannot be reached.
    """
    with broker_client(app) as client:
        return int(client.zcount(_key(app, queue), time.time(), "+inf")) if client else 0


def _ask(app: Celery, queue: str) -> bool | None:
    try:
        return others(app, queue) > 0
    except (OperationalError, RedisError, OSError) as error:
        logger.debug("Who opens envelopes of %s is unknown: %s", queue, error)
        return None


def _key(app: Celery, queue: str) -> str:
    # By the queue of the envelopes: who opens those of one version may not know the next.
    return f"{root(app)}openers:{batch_queue(queue)}"
