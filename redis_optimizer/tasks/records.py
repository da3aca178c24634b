"""When the progress of a worker's open envelopes is written, and when it is forgotten."""

import logging
import threading
from time import monotonic
from typing import Any, Final

import redis
from celery import Celery
from kombu.exceptions import OperationalError

from redis_optimizer.tasks import progress
from redis_optimizer.tasks.opened import OpenEnvelope

__all__ = ["BROKER_ERRORS", "Records"]

logger = logging.getLogger(__name__)

SAVE_EVERY: Final = 1.0  # seconds

BROKER_ERRORS: Final = (OperationalError, redis.RedisError)
"""The broker cannot be reached, or refuses (kombu translates the former only)."""


class Records:
    """The records of one consumer's envelopes.

    Envelopes that are done with in a moment get none.

    Args:
        app: The worker's.
        timer: Of the consumer.
    """

    def __init__(self, app: Celery, timer: Any) -> None:
        self._app = app
        self._timer = timer
        self._lock = threading.Lock()
        self._unsaved: dict[str, OpenEnvelope] = {}
        self._settled: list[str] = []
        self._is_saving_soon = False

    def note(self, envelope: OpenEnvelope) -> None:
        """Take in that some jobs of an envelope are done with."""
        with self._lock:
            self._unsaved[envelope.id] = envelope

    def settle(self, envelope: OpenEnvelope) -> None:
        """Take in that all jobs of an envelope are."""
        with self._lock:
            self._unsaved.pop(envelope.id, None)
            if envelope.has_record:
                self._settled.append(envelope.id)

    def save(self, after: float = 0) -> None:
        """Write how far envelopes are.

        Args:
            after: Only of those opened this many seconds ago.
        """
        latest = monotonic() - after
        with self._lock:
            self._is_saving_soon = False
            due = {i: e for i, e in self._unsaved.items() if e.opened_at <= latest}
            settled, self._settled = self._settled, []
            for identity, envelope in due.items():
                del self._unsaved[identity]
                envelope.has_record = True
        try:
            if due:
                progress.save(self._app, {i: bytes(e.finished) for i, e in due.items()})
                due = {}
            if settled:
                progress.forget(self._app, settled)
        except BROKER_ERRORS as error:
            logger.warning("The progress of %d envelopes was not recorded: %s", len(due), error)
            with self._lock:
                self._settled = settled + self._settled
                self._unsaved = {i: e for i, e in due.items() if e.finished.left} | self._unsaved
        self.save_soon()

    def save_soon(self) -> None:
        """Have it done in a second, where there is anything to write."""
        with self._lock:
            if self._is_saving_soon or not (self._unsaved or self._settled):
                return
            self._is_saving_soon = True
        self._timer.call_after(SAVE_EVERY, self.save, (SAVE_EVERY,))
