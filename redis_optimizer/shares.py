"""What the primaries of a cluster tell a subscriber: each its part, and what all vouch for."""

import threading
from collections.abc import Iterable
from typing import Protocol

from redis.connection import ConnectionPool

from redis_optimizer.channel import Refused
from redis_optimizer.connections import Address
from redis_optimizer.probe import write_probe
from redis_optimizer.subscriber import Subscriber
from redis_optimizer.topology import Topology

__all__ = ["Part", "Whole"]


class Listener(Protocol):
    """What wants to know how it is with the primaries, whoever the subscriber is."""

    def tell_settled(self) -> None:
        """Take note that one more primary tells of writes, or has refused to."""

    def tell_lost(self) -> None:
        """Take note that a primary does not tell of writes any more."""


class Whole:
    """What all primaries together tell one subscriber."""

    def __init__(self, subscriber: Subscriber, parts: int, listener: Listener) -> None:
        self.subscriber = subscriber
        self._parts = parts
        self._listener = listener
        self._lock = threading.Lock()
        self._trusted: dict[Address, float] = {}
        self._refused: dict[Address, str] = {}
        self._is_up = False
        self._is_over = False

    @property
    def is_settled(self) -> bool:
        """True when every primary tells of writes, or has refused to."""
        with self._lock:
            return len(self._trusted) + len(self._refused) == self._parts

    def trust(self, node: Address, valid_until: float) -> None:
        with self._lock:
            if self._is_over:
                return
            self._refused.pop(node, None)
            self._trusted[node] = valid_until
            if len(self._trusted) == self._parts:
                until = min(self._trusted.values())
                if self._is_up:
                    self.subscriber.on_alive(until)
                else:
                    self._is_up = True
                    self.subscriber.on_up(until)
        self._listener.tell_settled()

    def distrust(self, node: Address) -> None:
        with self._lock:
            if self._is_over:
                return
            self._trusted.pop(node, None)
            self._refused.pop(node, None)
            self._is_up = False
            self.subscriber.on_down()
            for reason in list(self._refused.values())[:1]:  # of another one, which stays refused
                self.subscriber.on_refused(reason)
        self._listener.tell_lost()

    def refuse(self, node: Address, reason: str) -> None:
        with self._lock:
            if self._is_over:
                return
            self._trusted.pop(node, None)
            self._refused[node] = reason
            self._is_up = False
            self.subscriber.on_refused(reason)
        self._listener.tell_settled()

    def invalidate(self, keys: Iterable[str] | None) -> None:
        # Whether all is up or not: to let go of too much is safe.
        self.subscriber.on_invalidated(keys)

    def end(self) -> None:
        """Trust nothing, and take no more news of these channels."""
        with self._lock:
            if not self._is_over:
                self._is_over = True
                self.subscriber.on_down()


class Part:
    """One primary's share in what a subscriber is told: what its channel serves."""

    def __init__(
        self, whole: Whole, pool: ConnectionPool, node: Address, topology: Topology
    ) -> None:
        self._whole = whole
        self._subscriber = whole.subscriber
        self._pool = pool
        self._node = node
        self._topology = topology

    @property
    def heartbeat(self) -> float:
        return self._subscriber.heartbeat

    @property
    def max_staleness(self) -> float:
        return self._subscriber.max_staleness

    @property
    def prefixes(self) -> tuple[str, ...]:
        return self._subscriber.prefixes

    def reads(self) -> int:
        return self._subscriber.reads()

    def prove(self, key: str) -> str:
        own = self._topology.key_at(self._node, key)
        if own is None:
            raise Refused(f"no key that begins with {key!r} lives on this node")
        write_probe(self._pool, own, self.max_staleness)
        return own

    def on_up(self, valid_until: float) -> None:
        self._whole.trust(self._node, valid_until)

    def on_alive(self, valid_until: float) -> None:
        self._whole.trust(self._node, valid_until)

    def on_invalidated(self, keys: Iterable[str] | None) -> None:
        self._whole.invalidate(keys)

    def on_down(self) -> None:
        self._whole.distrust(self._node)

    def on_refused(self, reason: str) -> None:
        self._whole.refuse(self._node, reason)
