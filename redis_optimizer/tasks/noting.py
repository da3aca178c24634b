"""What a worker has taken from its queue, while the broker does not note that it has.

Kombu takes a message from its list, and then writes it down among the unacknowledged ones. Where
the server refuses that, as one without memory does (OOM), one that is busy with a script or has
become a replica, or where the connection breaks between the two, kombu drops what it has in its
hands: with an envelope, all jobs in it. What this leans on in kombu and is not documented is held
by ``tests/contracts/test_kombu.py``.
"""

import atexit
import logging
from collections import defaultdict, deque
from itertools import chain
from typing import Any, Final

import redis
from kombu.transport import redis as transport
from kombu.transport import virtual

from redis_optimizer.tasks.acks import Acks
from redis_optimizer.tasks.losses import report

__all__ = ["Noting", "keep_what_is_taken"]

logger = logging.getLogger("redis_optimizer.tasks")

REFUSALS: Final = (redis.RedisError, OSError)

_left: Final[defaultdict[str, deque[Any]]] = defaultdict(deque)
"""By broker, messages in the hands of this process whose channel is gone: the next one to that
broker puts them back."""


class Noting(Acks):
    """Hand a message on though it could not be noted, and note it as soon as that is possible.

    Until then a worker that is killed loses it, as one that acknowledges early. One that stops, or
    connects anew, puts it back.
    """

    _delivered: Any
    _remove_from_indices: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._unnoted: dict[str, Any] = {}
        broker = self.channel.connection.client
        # Of several URLs, of which kombu takes one that answers, each will do.
        self._left = _left[";".join(broker.alt) or broker.as_uri()]

    def append(self, message: Any, delivery_tag: str) -> None:
        """Note a message that was taken, and those that could not be noted before."""
        try:
            super().append(message, delivery_tag)
            for tag, older in self._unnoted.copy().items():
                super().append(older, tag)
                if self._unnoted.pop(tag, None) is None:  # another thread is done with it
                    super().ack(tag)
        except REFUSALS as error:
            if delivery_tag in self._delivered:  # it is an older one that was refused
                return
            if not self._unnoted:
                logger.warning(
                    "The broker does not note what this worker took from a queue (%s: %s). The "
                    "worker goes on; if it is killed now, what it has is lost.",
                    type(error).__name__,
                    error,
                )
            self._unnoted[delivery_tag] = message
            virtual.QoS.append(self, message, delivery_tag)

    def ack(self, delivery_tag: str) -> None:
        """Take note that a message is done."""
        self._unnoted.pop(delivery_tag, None)
        if self._is_cut_off:
            # Of a connection that was lost: kombu would fail, and the worker end. What is noted is
            # delivered again when the visibility timeout is over, as with any lost connection.
            logger.debug("A message that is done cannot be acknowledged: its channel is closed.")
            return
        super().ack(delivery_tag)

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        """Take note that a message is not wanted, or put it back."""
        if self._is_cut_off:  # see ack()
            message = self._unnoted.pop(delivery_tag, None)
            if requeue and message is not None:
                self._left.append(message)
            return
        super().reject(delivery_tag, requeue)
        self._unnoted.pop(delivery_tag, None)

    def restore_by_tag(self, tag: str, client: Any = None, leftmost: bool = False) -> None:
        """Put a message back into its queue."""
        message = self._unnoted.get(tag)
        if message is None:
            super().restore_by_tag(tag, client, leftmost)
            return
        self._put_back(message, client, leftmost)
        self._unnoted.pop(tag, None)

    def restore_unacked(self, client: Any = None) -> None:
        """Put everything back, as the channel closes."""
        for tag in list(self._unnoted):
            self._delivered.pop(tag, None)
            if (message := self._unnoted.pop(tag, None)) is not None:
                self._left.append(message)
        if client is None and self._is_cut_off:
            self._delivered.clear()  # see ack()
            return
        self._put_back_left(client)
        super().restore_unacked(client)

    @property
    def _is_cut_off(self) -> bool:
        """True once Celery has let go of the connection, before or after the channel is closed."""
        connection = self.channel.connection
        return connection is None or connection.client is None

    def restore_visible(self, *args: Any, **kwargs: Any) -> Any:
        """Look for what lost workers have left; first for what this one has."""
        self._put_back_left()
        return super().restore_visible(*args, **kwargs)

    def _put_back_left(self, client: Any = None) -> None:
        while self._left:
            try:
                self._put_back(self._left[0], client)
            except REFUSALS as error:
                logger.debug("What was taken cannot be put back yet: %s", error)
                return
            self._left.popleft()

    def _put_back(self, message: Any, client: Any = None, leftmost: bool = False) -> None:
        about = message.delivery_info
        with self.channel.conn_or_acquire(client) as client, client.pipeline() as pipe:
            # It may have been noted, if only the reply to that was lost.
            self._remove_from_indices(message.delivery_tag, pipe)
            self.channel._do_restore_message(
                message._raw, about["exchange"], about["routing_key"], pipe, leftmost
            )
            pipe.execute()


def keep_what_is_taken() -> None:
    """Have this process keep what it took from a queue and could not note."""
    transport.Channel.QoS = Noting
    atexit.register(_tell_lost)


def _tell_lost() -> None:
    messages = chain.from_iterable(_left.values())
    lost = {str(m.headers.get("id")): str(m.headers.get("task")) for m in messages}
    _left.clear()
    report(
        lost,
        reason="This worker took it from a queue, could not put it back, and may have run it.",
        unknown=lost,
    )
