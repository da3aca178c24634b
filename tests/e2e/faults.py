"""What goes wrong on purpose while a run lasts."""

from __future__ import annotations

import time
from collections.abc import Callable

import redis

from redis_optimizer.embedded import EmbeddedServer

CHANNEL = "redis_optimizer:channel:"
FREEZE = 5.0  # seconds


def cut_channels(server: EmbeddedServer) -> int:
    """Close the connections that invalidations arrive on; return how many there were."""
    with redis.Redis.from_url(server.url) as admin:
        channels = [
            client["id"] for client in admin.client_list() if client["name"].startswith(CHANNEL)
        ]
        for channel in channels:
            admin.client_kill_filter(_id=channel)
    return len(channels)


def freeze(server: EmbeddedServer) -> None:
    """Let connections stay open while nothing answers."""
    server.freeze()
    try:
        time.sleep(FREEZE)
    finally:
        server.thaw()


def restart(server: EmbeddedServer) -> None:
    """Stop the server as an operator does, and start it again."""
    server.restart()


def crash(server: EmbeddedServer) -> None:
    """Kill the server and start it again; what it acknowledged is on its disk."""
    server.kill()
    server.restart()


# When each begins, as a share of the run. A run of 12 seconds has room for the freeze.
SCHEDULE: list[tuple[float, Callable[[EmbeddedServer], object]]] = [
    (0.10, cut_channels),
    (0.20, freeze),
    (0.66, restart),
    (0.76, cut_channels),
    (0.84, crash),
]
SHORTEST = 12.0  # seconds


def disturb(server: EmbeddedServer, seconds: float) -> dict[str, float]:
    """Make everything go wrong that SCHEDULE lists, in a run of that many seconds.

    Returns:
        When each fault was over, in seconds from the start.
    """
    began = time.monotonic()
    over = {}
    for share, fault in SCHEDULE:
        time.sleep(max(0.0, began + share * seconds - time.monotonic()))
        fault(server)
        over[f"{fault.__name__} at {share * seconds:.1f} s"] = round(time.monotonic() - began, 3)
    return over
