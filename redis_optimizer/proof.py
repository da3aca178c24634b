"""Proof that a channel hears of what is written where the data goes.

A key is written the way the data goes, and its invalidation must arrive on the channel. That proves
the prefix, the ACL, that both lead to the same server, and that no proxy strips push messages.
"""

import logging
import uuid
from collections.abc import Callable, Iterable
from math import inf
from typing import Final

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from redis_optimizer.connections import connects
from redis_optimizer.link import Event, Invalidated
from redis_optimizer.subscriber import Subscriber

__all__ = ["Proof", "probe_of"]

logger = logging.getLogger("redis_optimizer.channel")

PROBE_TIMEOUT: Final = 2.0
"""Seconds that an invalidation may take, once the key is written."""

Listen = Callable[[float], Event | None]
"""Waits so many seconds for the next event, acts on it and returns it."""


class Proof:
    """What is proved of one channel.

    Args:
        now: Clock in seconds; must be monotonic.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._is_under_way = False
        self._again_at = -inf
        self._connects = 0
        self.begin()

    def begin(self) -> None:
        """Take note that each subscriber is proved from here on."""
        self._connects = connects("cache")
        self._again_at = -inf

    def arrives(self, listen: Listen, key: str, timeout: float) -> bool:
        """Wait for the invalidation of a key that was written.

        Args:
            listen: To the channel.
            key: The key.
            timeout: Seconds, `PROBE_TIMEOUT` at most.
        """
        deadline = self._now() + min(timeout, PROBE_TIMEOUT)
        self._is_under_way = True
        try:
            while (left := deadline - self._now()) > 0:
                event = listen(left)
                if isinstance(event, Invalidated) and (event.keys is None or key in event.keys):
                    return True
            return False
        finally:
            self._is_under_way = False

    def holds(self, listen: Listen, subscribers: Iterable[Subscriber]) -> bool:
        """Prove it again where data has got new connections: they may lead elsewhere.

        An address may come to mean another server, by DNS or behind a proxy, while what is
        connected stays so. What came by a new connection must not be trusted for longer than
        before until the proof is there.

        Args:
            listen: To the channel.
            subscribers: Those that trust what they hold.

        Returns:
            False where it cannot be told now: another proof is under way, or no key can be written.

        Raises:
            redis.exceptions.ConnectionError: they do.
        """
        made = connects("cache")
        if made == self._connects:
            return True
        if self._is_under_way or self._now() < self._again_at:
            return False
        for subscriber in subscribers:
            try:
                key = subscriber.prove(probe_of(subscriber))
            except (RedisError, OSError) as error:
                logger.debug("Where data goes cannot be told now: %s", error)
                self._again_at = self._now() + subscriber.heartbeat  # it may be short of memory
                return False
            if not self.arrives(listen, key, subscriber.max_staleness):
                raise RedisConnectionError("Data goes to another server by now.")
        self._connects = made
        return True


def probe_of(subscriber: Subscriber) -> str:
    """Return a key that nobody else writes, under a prefix of a subscriber."""
    return f"{subscriber.prefixes[0]}redis_optimizer:probe:{uuid.uuid4().hex}"
