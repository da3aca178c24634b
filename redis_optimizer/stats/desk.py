"""Where control messages arrive, and what this process answers."""

import logging
import os
import threading
import time
from collections.abc import Callable
from typing import Any, Final

from redis.exceptions import RedisError

from redis_optimizer.conf import get_settings
from redis_optimizer.stats.messages import Answer, pack_answer, read_question, reply_channel
from redis_optimizer.stats.process import facts
from redis_optimizer.stats.registry import Registry, registry

__all__ = ["ANSWERS", "BURST", "Desk", "desk"]

logger = logging.getLogger("redis_optimizer.stats")

ANSWERS: Final = 5
"""Questions that a process answers in a second. Whoever may publish can ask a thousand times, and
each answer is many times as large as the question."""

BURST: Final = 20
"""Questions that it answers at once: one comes on each channel, and several people may look."""

Publish = Callable[[str, bytes], None]


class Desk:
    """Answer questions of other processes.

    Args:
        source: What is told.
        now: Clock in seconds; must be monotonic.
    """

    def __init__(
        self, source: Registry = registry, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._source = source
        self._now = now
        self._actions: dict[str, Callable[[], Any]] = {}
        self.reset()

    def reset(self) -> None:
        """Count from 0 again, as a forked child does: what its parent counted is the parent's."""
        self._lock = threading.Lock()  # another thread of the parent may have held the old one
        self._left = float(BURST)
        self._at = self._now()
        self.answered = 0
        self.ignored = 0
        """Messages that are no question that is known here: forged, say, or of a later version."""
        self.refused = 0
        """Questions that came too fast, one after the other."""
        self.failed = 0

    def register(self, asks: str, action: Callable[[], Any]) -> None:
        """Say what is done when a question asks for it; what it returns is told."""
        self._actions[asks] = action

    def totals(self) -> dict[str, int]:
        """Return what became of the messages so far."""
        return {
            "answered": self.answered,
            "ignored": self.ignored,
            "refused": self.refused,
            "failed": self.failed,
        }

    def on_message(self, data: bytes, publish: Publish) -> None:
        """Answer a question, once; do no more than count anything else.

        Args:
            data: What somebody published.
            publish: Sends the answer to a Pub/Sub channel.

        Raises:
            redis.exceptions.RedisError, OSError: when the connection is lost.
        """
        try:
            question = read_question(data)
        except ValueError:
            self.ignored += 1
            return
        if not self._may_answer():
            self.refused += 1
            return
        try:
            totals = self._source.totals()
            if action := self._actions.get(question.asks):
                totals["done"] = action()
            history = self._source.history() if question.history else None
            answer = pack_answer(question, Answer(facts(), totals, history))
            channel = reply_channel(get_settings().NAMESPACE, question.id)
            self.answered += 1
            publish(channel, answer)
        except (RedisError, OSError):
            raise
        except Exception as error:  # invalidations must go on arriving
            self.failed += 1
            logger.debug("A question could not be answered: %r", error)

    def look(self) -> float:
        """Bring the history up to date, and return the seconds until the next time."""
        try:
            return self._source.look()
        except Exception as error:
            self.failed += 1
            logger.debug("The history could not be brought up to date: %r", error)
            return 10.0

    def _may_answer(self) -> bool:
        with self._lock:  # a process has a channel to each server
            now = self._now()
            self._left = min(self._left + (now - self._at) * ANSWERS, BURST)
            self._at = now
            if self._left < 1:
                return False
            self._left -= 1
            return True


desk: Final = Desk()
"""That of this process."""

registry.register("messages", desk.totals)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=desk.reset)
