"""Workers say that they are alive, by less than a command a minute; who wants to know looks it up.

They are in one sorted set, whose scores say when each was last heard of.
"""

import logging
import time
from dataclasses import dataclass
from typing import Any, Final

import redis
from celery import Celery, bootsteps
from celery.worker.consumer.tasks import Tasks
from kombu.exceptions import OperationalError
from kombu.utils.uuid import uuid

from redis_optimizer.conf import get_settings
from redis_optimizer.tasks.asking import asking
from redis_optimizer.tasks.celery_internals import channel_client
from redis_optimizer.tasks.names import root

__all__ = ["BEAT", "LAPSE", "Heard", "Heartbeat", "alive", "hear"]

logger = logging.getLogger(__name__)

BEAT: Final = 75.0  # seconds between two words of a worker
LAPSE: Final = 160.0  # seconds after which a worker that says nothing is not alive: one may be lost
TIDY: Final = 50  # beats between two times that what killed workers left is taken away
KEEP: Final = 2 * TIDY * int(BEAT)  # seconds that the set stays when all workers are killed


@dataclass(frozen=True, slots=True)
class Heard:
    """What is known of the workers.

    Attributes:
        workers: How many are alive.
        last: When one was last heard of, in seconds since the epoch; None: never.
    """

    workers: int
    last: float | None


def hear(app: Celery, timeout: float) -> Heard:
    """Look up which workers are alive: two commands, in one round trip.

    Args:
        app: Whose broker, which is Redis.
        timeout: Seconds that the answer may take.

    Raises:
        kombu.exceptions.OperationalError: when the broker does not answer.
    """
    key = _key(app)
    with asking(app, timeout) as lists, lists.client.pipeline(transaction=False) as pipeline:
        pipeline.zcount(key, time.time() - LAPSE, "+inf")
        pipeline.zrange(key, 0, 0, desc=True, withscores=True)
        workers, last = pipeline.execute()
    return Heard(workers, last[0][1] if last else None)


def alive(app: Celery, client: redis.Redis) -> int:
    """Return how many workers are alive, by one command.

    Args:
        app: Whose workers.
        client: Of its broker's server.

    Raises:
        redis.RedisError: the server cannot be reached, or refuses.
    """
    return int(client.zcount(_key(app), time.time() - LAPSE, "+inf"))


class Heartbeat(bootsteps.StartStopStep):
    """Say from the worker's main process that it is alive, until it stops.

    With a pool that runs jobs in the main process ("solo") nothing is said while a job runs.
    """

    requires = (Tasks,)

    def __init__(self, consumer: Any, **options: Any) -> None:
        super().__init__(consumer, **options)
        # Two workers may have one name; one of them must not withdraw the other.
        self._member = f"{consumer.hostname}/{uuid()}"
        self._beats = 0
        self._timer: Any = None
        self._is_refused = False

    def start(self, consumer: Any) -> None:
        """Begin, when the broker is connected; also after its connection was lost."""
        is_redis = consumer.connection.transport.driver_type == "redis"
        if not is_redis or not get_settings().ENABLED:
            return
        self._beats = 0  # the server may have lost it
        self._beat(consumer)
        self._timer = consumer.timer.call_repeatedly(BEAT, self._tick, (consumer,))

    def close(self, consumer: Any) -> None:
        """Withdraw, for the worker stops."""
        if self._timer is None:
            return
        self.stop(consumer)
        # To connect anew may take longer than a worker has to stop.
        if consumer.connection is not None and consumer.connection.connected:
            self._send(consumer, lambda pipeline, key: pipeline.zrem(key, self._member))

    def stop(self, consumer: Any) -> None:
        """Stop, because the worker does, or because the broker's connection is lost."""
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def terminate(self, consumer: Any) -> None:
        """Stop at once, as `stop` does."""
        self.stop(consumer)

    def _tick(self, consumer: Any) -> None:
        # With some pools the timer is a thread of its own.
        if consumer.hub:
            self._beat(consumer)
        else:
            consumer.call_soon(self._beat, consumer)

    def _beat(self, consumer: Any) -> None:
        if consumer.task_consumer is None or consumer.connection is None:
            return
        now, tidies = time.time(), self._beats % TIDY == 0
        self._beats += 1

        def say(pipeline: Any, key: str) -> None:
            pipeline.zadd(key, {self._member: now})
            if tidies:
                pipeline.zremrangebyscore(key, "-inf", now - KEEP)
                pipeline.expire(key, KEEP)

        self._send(consumer, say)

    def _send(self, consumer: Any, fill: Any) -> None:
        try:
            # The connection that jobs are acknowledged on: this needs no other.
            with (
                channel_client(consumer.task_consumer.channel) as client,
                client.pipeline(transaction=False) as pipeline,
            ):
                fill(pipeline, _key(consumer.app))
                pipeline.execute()
        except OperationalError as error:
            level = logging.DEBUG if self._is_refused else logging.WARNING
            logger.log(level, "That this worker is alive could not be said: %s", error)
            self._is_refused = True


def _key(app: Celery) -> str:
    return f"{root(app)}workers"
