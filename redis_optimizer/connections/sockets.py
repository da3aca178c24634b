"""How long a connection may take, and how a dead one is noticed."""

import socket
from typing import Any, Final

__all__ = ["COMMAND_TIMEOUT", "CONNECT_TIMEOUT", "KEEPALIVE", "keepalive_options"]

CONNECT_TIMEOUT: Final = 10.0
"""Seconds that the server may take to accept a connection."""

COMMAND_TIMEOUT: Final = 5.0
"""Seconds that a command may take, and that one may wait for a connection of a full pool."""

KEEPALIVE: Final = 30
"""Seconds of silence after which the kernel asks whether the other side is still there."""

PROBE_INTERVAL: Final = 5
PROBES: Final = 3


def keepalive_options(idle: int) -> dict[str, Any]:
    """Return redis-py's options for TCP keepalive.

    A dead connection is noticed after `idle` + 15 seconds, and no router forgets a quiet one.

    Args:
        idle: Seconds of silence before the first probe; 0 switches keepalive off.
    """
    if not idle:
        return {}
    values = {
        "TCP_KEEPIDLE": idle,
        "TCP_KEEPALIVE": idle,  # what macOS calls it
        "TCP_KEEPINTVL": PROBE_INTERVAL,
        "TCP_KEEPCNT": PROBES,
    }
    known = {name: value for name, value in values.items() if hasattr(socket, name)}
    return {
        "socket_keepalive": True,
        "socket_keepalive_options": {getattr(socket, name): v for name, v in known.items()},
    }
