"""An address that can come to mean another server, as one behind a proxy or in the DNS can."""

import contextlib
import socket
import threading
from typing import Self

from redis_optimizer.embedded import HOST

__all__ = ["Relay"]


class Relay:
    """Lead each new connection to a server; those that there are stay where they lead.

    Args:
        port: Of the server.

    Attributes:
        port: The same; another one counts for connections from then on.
        url: Where it listens.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self._listener = socket.create_server((HOST, 0), backlog=64)
        self.url = f"redis://{HOST}:{self._listener.getsockname()[1]}/0"
        self._sockets: list[socket.socket] = []

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        for each in (self._listener, *self._sockets):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)  # wakes the thread that waits for it
            each.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # it is closed
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection((HOST, self.port))
                self._sockets += (client, server)
                for ends in ((client, server), (server, client)):
                    threading.Thread(target=_copy, args=ends, daemon=True).start()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65_536):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)
