"""What a read brings from Redis, and for how long it may be kept."""

from collections.abc import Callable, Collection
from typing import Any, Final

from redis.exceptions import ResponseError

from redis_optimizer.connections import Address, answering

__all__ = ["NO_EXPIRY", "ClusterFetch", "Fetch", "lifetime"]

NO_EXPIRY: Final = -1
"""What PTTL answers for a key that does not expire."""


class Fetch:
    """Stands in for the Redis client in one django-redis read, and notes the raw replies.

    django-redis does the rest as ever: make the key, send, decode, translate errors.

    Args:
        redis: The client of the primary: the server whose writes we are told of.
        exact: Ask for the TTL along with the value.
    """

    is_told = True
    """Whether this process will be told when somebody writes what was read."""

    def __init__(self, redis: Any, *, exact: bool = False) -> None:
        self._redis = redis
        self._exact = exact
        self.raw: dict[str, bytes | None] = {}
        self.ttl: int | None = None
        """Milliseconds, NO_EXPIRY, or None when not known."""

    def get(self, key: str) -> bytes | None:
        """Read one key."""
        if not self._exact:
            value: bytes | None = self._redis.get(key)
        else:
            pipeline = self._redis.pipeline(transaction=False)
            pipeline.get(key)
            pipeline.pttl(key)
            value, ttl = pipeline.execute(raise_on_error=False)
            if isinstance(value, Exception):
                raise value
            # An ACL may forbid PTTL: then the value is kept as one whose TTL is not known.
            self.ttl = None if isinstance(ttl, ResponseError) else ttl
        self.raw[key] = value
        return value

    def mget(self, *keys: str) -> list[bytes | None]:
        """Read many keys by one command."""
        values: list[bytes | None] = self._redis.mget(*keys)
        self.raw.update(zip(keys, values, strict=True))
        return values


class ClusterFetch(Fetch):
    """The same for a cluster, which may answer by a node that this process knows nothing of.

    Args:
        redis: The client of the cluster.
        hears: Says whether these nodes tell of writes.
        exact: Ask for the TTL along with the value.
    """

    def __init__(
        self, redis: Any, hears: Callable[[Collection[Address]], bool], *, exact: bool = False
    ) -> None:
        super().__init__(redis, exact=exact)
        self._hears = hears

    def get(self, key: str) -> bytes | None:
        """Read one key."""
        with answering() as nodes:
            value = super().get(key)
        self.is_told = self._hears(nodes)
        return value

    def mget(self, *keys: str) -> list[bytes | None]:
        """Read many keys by one round trip."""
        with answering() as nodes:
            values = super().mget(*keys)
        self.is_told = self._hears(nodes)
        return values


def lifetime(ttl: int | None, *, max_age: float, unknown: float) -> float:
    """Return how long a value may be kept.

    Args:
        ttl: What PTTL said, in milliseconds; NO_EXPIRY; None when it was not asked.
        max_age: The longest, in seconds.
        unknown: The longest while the TTL is not known, in seconds.

    Returns:
        Seconds.
    """
    if ttl is None:
        return min(max_age, unknown)
    if ttl == NO_EXPIRY:
        return max_age
    return min(max_age, ttl / 1000)
