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


def free_port() -> int:
    """Return a loopback port that nobody listens on."""
    while True:
        port = _random.choice(PORTS)
        if is_free(port):
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
