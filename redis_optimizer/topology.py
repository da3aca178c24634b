"""Who serves which slots of a cluster, and how a change of that is noticed."""

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from redis.crc import key_slot
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError

from redis_optimizer.connections import Address, Cluster, channel_connection

__all__ = ["Changed", "State", "Topology", "discover", "read_state"]

PROBES: Final = 1_000_000
"""Keys that are tried to find one on a node. One in 16,384 is, if it has a single slot."""


class Changed(RedisConnectionError):
    """The cluster is not what it was when it was last looked at."""


class State(NamedTuple):
    """What each node says of the cluster. It differs after a failover, and when a node gets its
    first slots or gives its last ones away."""

    epoch: int
    size: int
    """Primaries that have slots."""


@dataclass(frozen=True, slots=True)
class Topology:
    """The primaries and their slots at one moment."""

    state: State
    ranges: tuple[tuple[int, int, Address], ...]
    """First slot, last slot, and the primary that has them."""

    @property
    def primaries(self) -> list[Address]:
        """Return the primaries that have slots."""
        return sorted({owner for _, _, owner in self.ranges})

    def owner(self, key: str) -> Address | None:
        """Return the primary that has the slot of a key."""
        slot = _slot(key)
        return next((node for low, high, node in self.ranges if low <= slot <= high), None)

    def key_at(self, node: Address, stem: str) -> str | None:
        """Return a key that begins with ``stem`` and lives on a node.

        Returns:
            The key, or None where the stem itself names the slot, and it is another node's.
        """
        owned = {
            slot
            for low, high, owner in self.ranges
            if owner == node
            for slot in range(low, high + 1)
        }
        if _slot(f"{stem}{{0}}") == _slot(f"{stem}{{1}}"):
            return stem if _slot(stem) in owned else None
        found = (n for n in range(PROBES) if key_slot(b"%d" % n) in owned)
        number = next(found, None)
        return None if number is None else f"{stem}{{{number}}}"


def discover(cluster: Cluster, known: Iterable[Address], timeout: float) -> Topology:
    """Ask the nodes, one after the other, until one is part of a cluster that works.

    Args:
        cluster: To ask.
        known: Nodes that were part of it; those of its settings are asked as well.
        timeout: Seconds that an answer may take.

    Raises:
        redis.exceptions.RedisError, OSError: when there is none; a ResponseError where all refuse.
    """
    # Not always the same first: one that is cut off from the others may not know it yet.
    nodes = list(known)
    random.shuffle(nodes)
    errors: list[Exception] = [RedisConnectionError("No node of the cluster is known.")]
    for node in dict.fromkeys([*nodes, *cluster.start_nodes]):
        try:
            return _ask(cluster, node, timeout)
        except (RedisError, OSError) as failure:
            errors.append(failure)
    # That one refuses says nothing of those that could not be reached.
    raise next((each for each in errors[1:] if not isinstance(each, ResponseError)), errors[-1])


def read_state(said: str) -> State:
    """Read what CLUSTER INFO says.

    Raises:
        Changed: when the cluster, or this node of it, does not work.
    """
    fields = dict(line.split(":", 1) for line in said.split() if ":" in line)
    if fields.get("cluster_state") != "ok":
        raise Changed(f"The cluster is {fields.get('cluster_state', 'unknown')}.")
    return State(int(fields["cluster_current_epoch"]), int(fields["cluster_size"]))


def _ask(cluster: Cluster, node: Address, timeout: float) -> Topology:
    connection = channel_connection(cluster.pool(node), protocol=2, timeout=timeout, passing=True)
    try:
        # The state first: a change that comes between the two is noticed when it is compared.
        connection.send_command("CLUSTER INFO")
        said = connection.read_response()
        connection.send_command("CLUSTER SLOTS")
        slots = connection.read_response()
    finally:
        connection.disconnect()
    return Topology(read_state(_text(said)), tuple(sorted(_ranges(cluster, node, slots))))


def _ranges(
    cluster: Cluster, node: Address, slots: list[Any]
) -> Iterator[tuple[int, int, Address]]:
    for low, high, primary, *_ in slots:
        # A node that does not know its own address says "", and "?" with a name that is unset.
        host = _text(primary[0] or b"")
        address = (host if host not in ("", "?") else node[0], int(primary[1]))
        yield int(low), int(high), cluster.remap(address)


def _slot(key: str) -> int:
    return key_slot(key.encode("utf-8", "surrogateescape"))


def _text(said: bytes | str) -> str:
    return said.decode() if isinstance(said, bytes) else said
