"""The record of an envelope's finished jobs, for the worker that gets the envelope again.

One bit for each job, in the order of the envelope.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import redis
from celery import Celery

from redis_optimizer.conf import get_settings
from redis_optimizer.tasks.kombu import broker_client, visibility_timeout

__all__ = ["Bits", "forget", "load", "save"]


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

    They outlive the time after which the broker gives the envelopes to somebody else.

    Raises:
        kombu.exceptions.OperationalError: when the broker cannot be reached.
    """
    lifetime = max(1, int(2000 * visibility_timeout(app)))
    with broker_client(app) as client:
        if client is None:
            return
        with client.pipeline(transaction=False) as pipeline:
            for identity, record in records.items():
                pipeline.set(_key(identity), record, px=lifetime)
            pipeline.execute()


def load(client: redis.Redis, identity: str) -> bytes:
    """Return the record of an envelope; an empty one where there is none."""
    found: Any = client.get(_key(identity))
    return found or b""


def forget(app: Celery, identities: Iterable[str]) -> None:
    """Delete the records of envelopes.

    Raises:
        kombu.exceptions.OperationalError: when the broker cannot be reached.
    """
    with broker_client(app) as client:
        if client is not None:
            client.delete(*map(_key, identities))


def _key(identity: str) -> str:
    return f"redis_optimizer:{get_settings().NAMESPACE}:progress:{identity}"
