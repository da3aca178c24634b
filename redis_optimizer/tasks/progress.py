"""The record of an envelope's finished jobs, for the worker that gets the envelope again.

One bit for each job, in the order of the envelope.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import redis
from celery import Celery
from redis.exceptions import ResponseError

from redis_optimizer.tasks.kombu.producers import broker_client, visibility_timeout
from redis_optimizer.tasks.names import root

__all__ = ["Bits", "forget", "load", "save"]

WAIT: Final = 86_400  # seconds that an envelope may be in the queue again


class Bits:
    """Which jobs of an envelope are finished.

    Args:
        size: Number of jobs.
        content: What `bytes` made of another.
    """

    __slots__ = ("_bits", "left")

    def __init__(self, size: int, content: bytes = b"") -> None:
        length = (size + 7) // 8
        self._bits = bytearray(content[:length].ljust(length, b"\0"))
        self.left = sum(index not in self for index in range(size))
        """Number of jobs that are not finished."""

    def __contains__(self, index: int) -> bool:
        return bool(self._bits[index >> 3] & 1 << (index & 7))

    def __bytes__(self) -> bytes:
        return bytes(self._bits)

    def add(self, index: int) -> bool:
        """Set a bit; return whether it was not set before."""
        if index in self:
            return False
        self._bits[index >> 3] |= 1 << (index & 7)
        self.left -= 1
        return True


def save(app: Celery, records: Mapping[str, bytes]) -> None:
    """Write the records of envelopes, by id.

    They outlive the time after which the broker gives the envelopes to somebody else by a day, in
    which they may wait for that somebody.

    Raises:
        kombu.exceptions.OperationalError: when the broker cannot be reached.
    """
    lifetime = int(1000 * (visibility_timeout(app) + WAIT))
    with broker_client(app) as client:
        if client is None:
            return
        with client.pipeline(transaction=False) as pipeline:
            for identity, record in records.items():
                pipeline.set(_key(app, identity), record, px=lifetime)
            pipeline.execute()


def load(app: Celery, client: redis.Redis, identity: str, size: int) -> Bits:
    """Return the record of an envelope; an empty one where there is none.

    Args:
        app: Whose broker.
        client: Of its server.
        identity: The envelope's.
        size: Number of its jobs.
    """
    try:  # no more than such a record has, whatever is there
        found: Any = client.getrange(_key(app, identity), 0, (size - 1) // 8)
    except ResponseError as error:
        if not str(error).startswith("WRONGTYPE"):
            raise
        found = b""  # a record of ours it is not
    return Bits(size, found)


def forget(app: Celery, identities: Iterable[str]) -> None:
    """Delete the records of envelopes.

    Raises:
        kombu.exceptions.OperationalError: when the broker cannot be reached.
    """
    with broker_client(app) as client:
        if client is not None:
            client.delete(*(_key(app, identity) for identity in identities))


def _key(app: Celery, identity: str) -> str:
    return f"{root(app)}progress:{identity}"
