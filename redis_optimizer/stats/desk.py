"""Where control messages arrive, and what this process does and answers."""

import logging
import os
import threading
import time
from collections.abc import Callable
from typing import Any, Final

from django.core.exceptions import ImproperlyConfigured
from redis.exceptions import RedisError, ResponseError

from redis_optimizer import switches
from redis_optimizer.conf import get_settings
from redis_optimizer.core.forks import around_fork
from redis_optimizer.stats.agreement import agree, learn, restore
from redis_optimizer.stats.messages import (
    MAX_AGE,
    Answer,
    Late,
    Question,
    pack_answer,
    read_question,
    reply_channel,
)
from redis_optimizer.stats.process import facts
from redis_optimizer.stats.registry import Registry, registry
from redis_optimizer.stats.signing import Forged
from redis_optimizer.subscriber import Line

__all__ = ["ANSWERS", "BURST", "Desk", "desk"]

logger = logging.getLogger("redis_optimizer.stats")

ANSWERS: Final = 5
"""Questions that a process answers in a second. Each answer is many times as large as the question,
and whoever asks may ask in a loop."""

REMEMBERED: Final = 5_000
"""Questions that are known to have come; of more, only somebody who has the key can send."""

BURST: Final = 20
"""Questions that it answers at once: one comes on each channel, and several people may look."""

FORGED: Final = (
    "A message on the control channel is ignored, once said for all. %s If it is of this site, its "
    "processes have different keys: list them in SECRET_KEY_FALLBACKS. If another site shares the "
    'server, give each another REDIS_OPTIMIZER["NAMESPACE"].'
)

Action = Callable[[], Any]


class Desk:
    """Answer questions of other processes, and do what they ask for.

    Args:
        source: What is told.
        now: Clock in seconds; must be monotonic.
        clock: Seconds since the epoch.
    """

    def __init__(
        self,
        source: Registry = registry,
        now: Callable[[], float] = time.monotonic,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._source = source
        self._now = now
        self._clock = clock
        self._actions: dict[str, tuple[Action, bool]] = {}
        self._is_told: set[str] = set()  # what is logged once
        self.reset()

    def reset(self) -> None:
        """Count from 0 again, as a forked child does: what its parent counted is the parent's."""
        self._pid = os.getpid()
        self._lock = threading.Lock()  # another thread of the parent may have held the old one
        self._left = float(BURST)
        self._at = self._now()
        self._heard: dict[tuple[str, int], float] = {}
        self.answered = 0
        self.ignored = 0
        """Messages that are no question that is known here: of a later version, say, or too old."""
        self.forged = 0
        """Messages that are not signed by a process of this site."""
        self.refused = 0
        """Questions that came too fast, one after the other."""
        self.failed = 0

    def register(self, asks: str, action: Action, *, waits: bool = False) -> None:
        """Say what is done when a question asks for it; what it returns is told.

        Args:
            asks: What is asked for.
            action: Does it.
            waits: It may take a moment, so it is called from a thread of its own: that of the
                channel must go on hearing of writes.
        """
        self._actions[asks] = (action, waits)

    def totals(self) -> dict[str, int]:
        """Return what became of the messages so far."""
        self._begin_anew()
        return {
            "answered": self.answered,
            "ignored": self.ignored,
            "forged": self.forged,
            "refused": self.refused,
            "failed": self.failed,
        }

    def on_connect(self, line: Line) -> None:
        """Learn which parts are switched off, now that nothing can be missed any more.

        Raises:
            redis.exceptions.RedisError, OSError: when the connection is lost.
        """
        try:
            agree(line)
        except ResponseError as error:
            self._tell_once("Which parts are off cannot be read from Redis, or kept: %s", error)
        except ImproperlyConfigured as error:  # no SECRET_KEY
            logger.debug("Which parts are off could not be kept: %r", error)
        except ValueError as error:
            self._tell_once("What Redis keeps of parts that are switched off is ignored: %s", error)

    def on_flushed(self, line: Line) -> None:
        """Have Redis keep which parts are off, if that was deleted with all else.

        Raises:
            redis.exceptions.RedisError, OSError: when the connection is lost.
        """
        try:
            restore(line)
        except ImproperlyConfigured as error:
            logger.debug("Which parts are off could not be kept: %r", error)

    def on_message(self, data: bytes, line: Line) -> None:
        """Do what is asked and answer, once; do no more than count anything else.

        Args:
            data: What somebody published.
            line: Takes the answer.

        Raises:
            redis.exceptions.RedisError, OSError: when the connection is lost.
        """
        self._begin_anew()
        try:
            question = read_question(data, self._clock())
        except Forged as error:
            self.forged += 1
            self._tell_once(FORGED, error)
            return
        except Late as error:
            self.ignored += 1
            self._tell_once("A message of this site is ignored, once said for all. %s", error)
            return
        except ValueError:
            self.ignored += 1
            return
        if question.only not in (None, facts()["id"]):
            return
        if self._was_heard(question, line):
            self.ignored += 1
            return
        if question.switch is not None:  # whatever else comes: it must not be too much
            part, state = question.switch
            learn({part: state})
        if not self._may_answer():
            self.refused += 1
            return
        action, waits = self._actions.get(question.asks, (None, False))
        if not waits:
            self._answer(question, action, line)
            return
        try:
            threading.Thread(
                target=self._answer_aside,
                args=(question, action, line),
                name="redis_optimizer:answer",
                daemon=True,
            ).start()
        except RuntimeError as error:  # no more threads
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

    def _answer(self, question: Question, action: Action | None, line: Line) -> None:
        try:
            done = action() if action is not None else _done(question)
            totals = self._source.totals()
            if done is not None:
                totals["done"] = done
            history = self._source.history() if question.history else None
            told = Answer(facts(), totals, history, states=switches.states())
            answer = pack_answer(question, told)
            channel = reply_channel(get_settings().NAMESPACE, question.id)
            self.answered += 1
            line.publish(channel, answer)
        except (RedisError, OSError):
            raise
        except Exception as error:  # invalidations must go on arriving
            self.failed += 1
            logger.debug("A question could not be answered: %r", error)

    def _answer_aside(self, question: Question, action: Action | None, line: Line) -> None:
        try:
            self._answer(question, action, line)
        except (RedisError, OSError) as error:  # the channel's thread meets the same
            logger.debug("An answer could not be sent: %r", error)

    def _was_heard(self, question: Question, line: Line) -> bool:
        """Tell whether a question has come on this channel before: somebody repeats it."""
        heard, now = (question.id, id(line)), self._now()
        with self._lock:
            # It is good for MAX_AGE, on a clock that may be as far behind.
            while self._heard and (
                next(iter(self._heard.values())) < now - 2 * MAX_AGE
                or len(self._heard) >= REMEMBERED
            ):
                del self._heard[next(iter(self._heard))]
            if heard in self._heard:
                return True
            self._heard[heard] = now
            return False

    def _may_answer(self) -> bool:
        with self._lock:  # a process has a channel to each server
            now = self._now()
            self._left = min(self._left + (now - self._at) * ANSWERS, BURST)
            self._at = now
            if self._left < 1:
                return False
            self._left -= 1
            return True

    def _tell_once(self, words: str, error: Exception) -> None:
        level = logging.DEBUG if words in self._is_told else logging.WARNING
        self._is_told.add(words)
        logger.log(level, words, error)

    def _begin_anew(self) -> None:
        if self._pid != os.getpid():  # uWSGI forks without a word to Python
            self.reset()


def _done(question: Question) -> dict[str, Any] | None:
    if question.switch is None:
        return None
    part, _ = question.switch
    state = switches.states().get(part)
    return None if state is None else {"part": part, "on": state.on}


def _switched() -> dict[str, bool]:
    return {part: switches.is_on(part) for part in switches.PARTS}


desk: Final = Desk()
"""That of this process."""

registry.register("messages", desk.totals)
registry.register("switches", _switched)
around_fork(after_in_child=desk.reset)
