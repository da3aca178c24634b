"""What goes wrong on purpose while a run lasts."""

from __future__ import annotations

import time
from collections.abc import Callable

import redis

from redis_optimizer.embedded import EmbeddedServer
from tests.cluster import Cluster, failover

from .plan import PREFIX

CHANNEL = "redis_optimizer:channel:"
FREEZE = 5.0  # seconds


def cut_channels(server: EmbeddedServer) -> str:
    """Close the connections that invalidations arrive on."""
    with redis.Redis.from_url(server.url) as admin:
        channels = [
            client["id"] for client in admin.client_list() if client["name"].startswith(CHANNEL)
        ]
        for channel in channels:
            admin.client_kill_filter(_id=channel)
    return f"{len(channels)} channels"


def freeze(server: EmbeddedServer) -> str:
    """Let connections stay open while nothing answers."""
    server.freeze()
    try:
        time.sleep(FREEZE)
    finally:
        server.thaw()
    return f"for {FREEZE} s"


def restart(server: EmbeddedServer) -> str:
    """Stop the server as an operator does, and start it again."""
    server.restart()
    return "came back"


def crash(server: EmbeddedServer) -> str:
    """Kill the server and start it again; what it acknowledged is on its disk."""
    server.kill()
    server.restart()
    return "came back"


def cut_node(cluster: Cluster) -> str:
    """Close the connections on which one primary tells of writes."""
    return cut_channels(cluster.primaries()[0])


def move_slots(cluster: Cluster) -> str:
    """Move the slots of two keys to primaries that have others, while they are written."""
    for number in (0, 1):
        key = f"{PREFIX}:1:k{number}"
        owner = cluster.owner(key)
        cluster.move(key, next(node for node in cluster.primaries() if node is not owner))
    return "two"


def add_node(cluster: Cluster) -> str:
    """Add a node, and move to it the slots of two keys."""
    node = cluster.add()
    for number in (2, 3):
        cluster.move(f"{PREFIX}:1:k{number}", node)
    return "with two slots"


def take_over(cluster: Cluster) -> str:
    """Let a replica take over, after what its primary has acknowledged."""
    failover(cluster.add(replica_of=cluster.owner(f"{PREFIX}:1:k4")))
    cluster.wait_ok()
    return "done"


# When each begins, as a share of the run. A run of 12 seconds has room for the freeze.
SCHEDULE: list[tuple[float, Callable[[EmbeddedServer], object]]] = [
    (0.10, cut_channels),
    (0.20, freeze),
    (0.66, restart),
    (0.76, cut_channels),
    (0.84, crash),
]
SHORTEST = 12.0  # seconds

IN_CLUSTER: list[tuple[float, Callable[[Cluster], object]]] = [
    (0.10, move_slots),
    (0.20, cut_node),
    (0.30, add_node),
    (0.60, take_over),
]
"""The same for a cluster. None of them loses a write: the checker would call that stale."""


def disturb(server: EmbeddedServer | Cluster, seconds: float) -> dict[str, object]:
    """Make everything go wrong that SCHEDULE or IN_CLUSTER lists, in a run of that many seconds.

    Returns:
        What came of each fault.
    """
    began = time.monotonic()
    outcomes: dict[str, object] = {}
    schedule: list[tuple[float, Callable[..., object]]]
    schedule = [*IN_CLUSTER] if isinstance(server, Cluster) else [*SCHEDULE]
    for share, fault in schedule:
        time.sleep(max(0.0, began + share * seconds - time.monotonic()))
        name = f"{fault.__name__} at {time.monotonic() - began:.1f} s"
        outcomes[name] = fault(server)
    return outcomes
