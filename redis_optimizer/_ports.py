"""Choose loopback ports."""

from __future__ import annotations

import random
import socket

HOST = "127.0.0.1"
# Below the ports that systems hand out for outgoing connections (32768 and up on Linux, 49152 and
# up on macOS): a port that was found free stays so until the server takes it.
PORTS = range(20_000, 32_768)

# The system's own generator: test plugins seed the shared one alike in every process.
_random = random.SystemRandom()

_given: set[int] = set()


def free_port() -> int:
    """Return a loopback port that nobody listens on.

    None twice in a process, unless all were given: a port is the name of a server to whoever keeps
    something of it, as django-redis keeps its pools by their URLs, and it is still so when that
    server has ended.
    """
    if len(_given) >= len(PORTS) // 2:
        _given.clear()
    while True:
        port = _random.choice(PORTS)
        if port not in _given and is_free(port):
            _given.add(port)
            return port


def is_free(port: int) -> bool:
    """Tell whether a server could listen on a loopback port."""
    with socket.socket() as probe:
        # As the server does, so that connections just closed are not in the way of a restart.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True
