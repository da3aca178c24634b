"""What goes wrong on purpose while a run lasts."""

from __future__ import annotations

import time
from collections.abc import Callable

import redis

from redis_optimizer.embedded import EmbeddedServer

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


# When each begins, as a share of the run. A run of 12 seconds has room for the freeze.
SCHEDULE: list[tuple[float, Callable[[EmbeddedServer], object]]] = [
    (0.10, cut_channels),
    (0.20, freeze),
    (0.66, restart),
    (0.76, cut_channels),
    (0.84, crash),
]
SHORTEST = 12.0  # seconds


def disturb(server: EmbeddedServer, seconds: float) -> dict[str, object]:
    """Make everything go wrong that SCHEDULE lists, in a run of that many seconds.

    Returns:
        What came of each fault.
    """
    began = time.monotonic()
    outcomes: dict[str, object] = {}
    for share, fault in SCHEDULE:
        time.sleep(max(0.0, began + share * seconds - time.monotonic()))
        name = f"{fault.__name__} at {time.monotonic() - began:.1f} s"
        outcomes[name] = fault(server)
    return outcomes
