"""Note and forget what a worker has taken from its queue by one command each.

Kombu takes four for either: MULTI, the two that write, EXEC. They were eight of the ten that a job
costs that comes alone, and a batch has as many. A script is as atomic, and what it writes is the
same: workers without it, and those that take over from one, see no difference. What this leans on
in kombu and is not documented is held by ``tests/contracts/test_kombu.py``.
"""

import logging
from time import time
from typing import Any, Final

import redis
from kombu.transport import redis as transport
from kombu.transport import virtual
from kombu.utils.json import dumps
from redis.exceptions import NoPermissionError, ResponseError

from redis_optimizer.tasks.scripts import Script

__all__ = ["Acks"]

logger = logging.getLogger("redis_optimizer.tasks")

NOTE: Final = Script("""
-- when messages were received, messages; tag, now, message: that a worker has it
redis.call('ZADD', KEYS[1], ARGV[2], ARGV[1])
return redis.call('HSET', KEYS[2], ARGV[1], ARGV[3])
""")

FORGET: Final = Script("""
-- when messages were received, messages; tag: that it is done
redis.call('ZREM', KEYS[1], ARGV[1])
return redis.call('HDEL', KEYS[2], ARGV[1])
""")


class Acks(transport.QoS):
    """Kombu's emulation of acknowledgements, with a script in the place of each transaction.

    Where the server refuses a script it is kombu's own, and so are the errors.
    """

    channel: Any
    unacked_key: str
    unacked_index_key: str

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._is_refused = False
        self._lent: redis.Redis | None = None

    def append(self, message: Any, delivery_tag: str) -> None:
        """Note a message that was taken, and remember it."""
        about = message.delivery_info
        content = dumps([message._raw, about["exchange"], about["routing_key"]])
        if self._run(NOTE, delivery_tag, repr(time()), content):
            virtual.QoS.append(self, message, delivery_tag)
        else:
            super().append(message, delivery_tag)

    def ack(self, delivery_tag: str) -> None:
        """Take note that a message is done."""
        if self._run(FORGET, delivery_tag):
            virtual.QoS.ack(self, delivery_tag)
        else:
            super().ack(delivery_tag)

    def _run(self, script: Script, *args: str) -> bool:
        """Run a script; False where the server refused it, and kombu is to do it instead.

        To write the same twice does no harm, and what kombu itself may not do, it says: servers
        before Redis 7 hide the READONLY, by which a client of Sentinel knows that the master is
        another one, in an error of the script.
        """
        if self._is_refused:
            return False
        prefix = self.channel.global_keyprefix
        keys = [f"{prefix}{self.unacked_index_key}", f"{prefix}{self.unacked_key}"]
        try:
            script(self._client(), keys, *args)
        except ResponseError as error:
            logger.debug("A message is noted without a script: %s", error)
            self._is_refused = _is_unable(error)
            return False
        return True

    def _client(self) -> redis.Redis:
        """Return a client of the channel's own pool.

        Kombu makes one for each message, which takes longer than the command; and its own puts
        `global_keyprefix` before the first key of a script only.
        """
        pool, client = self.channel.pool, self._lent
        if client is None or client.connection_pool is not pool:
            # As kombu: a provider whose tokens expire renews what is connected through a client.
            provider = pool.connection_kwargs.get("credential_provider")
            self._lent = client = redis.Redis(connection_pool=pool, credential_provider=provider)
        return client


def _is_unable(error: ResponseError) -> bool:
    """Tell whether the server does such a thing never; else the next message is tried again."""
    return isinstance(error, NoPermissionError) or "unknown command" in str(error).lower()
