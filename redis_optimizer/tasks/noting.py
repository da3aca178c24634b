"""What a worker has taken from its queue, while the broker refuses to note that it has.

Kombu takes a message from its list, and then writes it down among the unacknowledged ones. Where
the server refuses that, as one without memory does (OOM), one that is busy with a script or has
become a replica, or where the connection breaks between the two, kombu drops what it has in its
hands: with an envelope, all jobs in it. What this leans on in kombu and is not documented is held
by ``tests/contracts/test_kombu.py``.
"""

import logging
from typing import Any, Final

import redis
from kombu.transport import redis as transport
from kombu.transport import virtual

__all__ = ["Noting", "keep_what_is_taken"]

logger = logging.getLogger("redis_optimizer.tasks")

REFUSALS: Final = (redis.RedisError, OSError)


class Noting(transport.QoS):
    """Hand a message on though it could not be noted, and note it as soon as that is possible.

    Until then a worker that is killed loses it, as one that acknowledges early. One that stops, or
    loses its connection, puts it back.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._unnoted: dict[str, Any] = {}

    def append(self, message: Any, delivery_tag: str) -> None:
        """Note a message that was taken, and those that could not be noted before."""
        try:
            super().append(message, delivery_tag)
            while self._unnoted:
                tag = next(iter(self._unnoted))
                super().append(self._unnoted[tag], tag)
                del self._unnoted[tag]
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
        super().ack(delivery_tag)

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        """Take note that a message is not wanted, or put it back."""
        super().reject(delivery_tag, requeue)
        self._unnoted.pop(delivery_tag, None)

    def restore_by_tag(self, tag: str, client: Any = None, leftmost: bool = False) -> None:
        """Put a message back into its queue."""
        message = self._unnoted.get(tag)
        if message is None:
            super().restore_by_tag(tag, client, leftmost)
            return
        about = message.delivery_info
        with self.channel.conn_or_acquire(client) as client, client.pipeline() as pipe:
            self.channel._do_restore_message(
                message._raw, about["exchange"], about["routing_key"], pipe, leftmost
            )
            pipe.execute()
        self._unnoted.pop(tag, None)


def keep_what_is_taken() -> None:
    """Have this process keep what it took from a queue and could not note."""
    transport.Channel.QoS = Noting
