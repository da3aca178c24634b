"""End a worker's wait for jobs when the worker is asked to stop.

The wait is a BRPOP, which Celery sees through to its end. A message that it takes while the worker
stops is in no hands: not in the queue, not in ``unacked``. With CLIENT UNBLOCK the wait ends at
once, as if its time were over. The server does one or the other: it hands a message over, or it
unblocks; so none is lost.
"""

import logging
import threading
import time
from typing import Any, Final

import redis
from celery.bootsteps import StartStopStep
from celery.signals import worker_shutting_down

from redis_optimizer.conf import get_settings
from redis_optimizer.connections import channel_connection
from redis_optimizer.tasks.celery_internals import (
    consuming_channel,
    is_waiting,
    set_wait,
    wait_of,
    waiting_connection,
)

__all__ = ["SAFE_WAIT", "Unblock"]

SAFE_WAIT: Final = 4
"""Seconds that a worker may wait for jobs where it cannot end the wait itself."""

TIMEOUT: Final = 1.0  # seconds to reach the server, while the worker stops

# Asked to stop, the main thread may still begin one more wait: so it is ended more than once.
PAUSES: Final = (0.1, 0.2, 0.4, 0.8, 1.6, 3.2)

logger = logging.getLogger(__name__)


class Wait:
    """The connection on which a channel waits for jobs.

    Args:
        channel: Of kombu's Redis transport, before it waits for the first time.
    """

    def __init__(self, channel: Any) -> None:
        self.channel = channel
        self.pool = channel.pool  # not the one that kombu waits on, but with the same options
        self.connection = waiting_connection(channel)
        self.id: int | None = None
        self.connection.register_connect_callback(self.learn)
        self.learn(self.connection)

    def learn(self, connection: Any) -> None:
        """Note the server's id of the connection, which changes with each connect."""
        self.id = None
        try:
            hello = connection.handshake_metadata  # RESP3 says it unasked
            if hello:
                self.id = int(hello.get(b"id") or hello["id"])
            else:
                connection.send_command("CLIENT", "ID")
                self.id = int(connection.read_response())
        except (KeyError, redis.ResponseError):
            return

    def can_end(self) -> bool:
        """Ask the server whether it would unblock, by a client that does not exist."""
        if self.id is None:
            return False
        self.connection.send_command("CLIENT", "UNBLOCK", 0)
        try:
            self.connection.read_response()
        except redis.ResponseError:  # an ACL, or a server that does not know the command
            return False
        return True

    def is_under_way(self) -> bool:
        """Tell whether the server has not answered yet."""
        try:
            return is_waiting(self.channel) and not self.connection.can_read(timeout=0)
        except redis.RedisError:
            return False

    def end(self) -> None:
        """Have the server answer now. A wait that is over already is left alone."""
        if self.id is None:
            return
        try:
            connection = channel_connection(self.pool, timeout=TIMEOUT)
        except redis.RedisError as error:
            logger.debug("The wait for jobs could not be ended: %s", error)
            return
        try:
            connection.send_command("CLIENT", "UNBLOCK", self.id)
            connection.read_response()
        except redis.RedisError as error:
            logger.debug("The wait for jobs could not be ended: %s", error)
        finally:
            connection.disconnect()


class Unblock(StartStopStep):
    """Wait for jobs as long as the consumer's class says, and end the wait when it stops."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def __init__(self, consumer: Any, **kwargs: Any) -> None:
        super().__init__(consumer, **kwargs)
        self.wait: Wait | None = None
        self.stopped = threading.Event()
        self.is_green = bool(getattr(consumer.pool, "is_green", False))
        worker_shutting_down.connect(self.on_shutting_down, sender=consumer.hostname)

    def start(self, consumer: Any) -> None:
        """Prepare a connection that has just been made, before jobs are awaited on it."""
        self.wait = None
        channel = consuming_channel(consumer)
        if channel is None or not get_settings().ENABLED:
            return
        # Without a class of ours: what the broker's polling_interval says.
        seconds = getattr(consumer, "wait", wait_of(channel))
        if not 0 < seconds <= SAFE_WAIT:  # 0 is for ever
            wait = Wait(channel)
            if wait.can_end():
                self.wait = wait
            else:
                logger.warning(
                    "The server does not let this user run CLIENT UNBLOCK and CLIENT ID: the "
                    "worker waits %s s for jobs instead of %s s, so that it can stop in time.",
                    SAFE_WAIT,
                    seconds,
                )
                seconds = SAFE_WAIT
        set_wait(channel, seconds)

    def on_shutting_down(self, **kwargs: Any) -> None:
        """End the wait as soon as the signal is there: a job that comes now is for others."""
        # In a thread: the signal may have interrupted any code, with any lock held. In a green
        # pool it interrupts the hub, which must not wait for one.
        if self.wait is not None and not self.is_green:
            threading.Thread(target=self._end_waits, name="redis-optimizer-unblock").start()

    def stop(self, consumer: Any) -> None:
        """End the wait that is left when no other will begin."""
        if consumer.blueprint.human_state() != "closing":
            return  # it only connects again
        self.stopped.set()
        wait = self.wait
        if wait is None:
            return
        # The server may read the command before the BRPOP that was sent earlier.
        for pause in (0, *PAUSES[:2]):
            time.sleep(pause)
            if not wait.is_under_way():
                return
            wait.end()

    def _end_waits(self) -> None:
        for pause in PAUSES:
            if self.wait is not None:
                self.wait.end()
            if self.stopped.wait(pause):
                return
