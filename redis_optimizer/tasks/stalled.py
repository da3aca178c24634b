"""A broker under Sentinel that has frozen: its worker leaves it, and asks for the new one."""

import logging
from math import inf
from time import monotonic
from typing import Any, Final

from redis_optimizer.internals import has_unread, interrupt
from redis_optimizer.tasks.celery_internals import (
    is_waiting,
    note_waits,
    wait_of,
    waiting_connection,
)

__all__ = ["Stall"]

logger = logging.getLogger(__name__)

GRACE: Final = 10.0
"""Seconds for which a worker waits for the answer that is due: a server may be busy."""


class Stall:
    """Whether the broker answers when a wait for jobs is over.

    kombu waits for that answer without an end, and Sentinel has named another primary long since.
    Nobody closes the connections to the old one while its process is suspended, and the kernel
    goes on answering TCP keepalive.

    Args:
        channel: On which the worker waits for jobs.
    """

    def __init__(self, channel: Any) -> None:
        self._channel = channel
        self._due_at = inf
        note_waits(channel, self._begin)

    def end(self) -> None:
        """Cut the connection if its answer is overdue; Celery then connects anew."""
        if not is_waiting(self._channel) or monotonic() < self._due_at + GRACE:
            return
        connection = waiting_connection(self._channel)
        # A worker that was held up itself has the answer still to read.
        if not has_unread(connection):
            logger.warning("The broker has not answered for %.0f s. Connecting anew.", GRACE)
            self._due_at = inf
            interrupt(connection)

    def _begin(self) -> None:
        wait = wait_of(self._channel)
        self._due_at = monotonic() + wait if wait else inf
