"""A process that asks for a page over and over: `python -m tests.benchmarks.page.client PORT N`.

It reads no more of an answer than its length, so that it leaves the processors to the site.
"""

import socket
import sys
import threading
import time

from tests.benchmarks.peers.answers import answer

HOST = "127.0.0.1"
REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
LIMIT = 30.0  # seconds for an answer


class Visitor:
    """One connection that stays."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection((HOST, port), timeout=LIMIT)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.done = 0

    def ask(self) -> bytes:
        """Ask once and return the body.

        Raises:
            RuntimeError: the answer is not a page.
        """
        self._socket.sendall(REQUEST)
        got = b""
        while b"\r\n\r\n" not in got:
            got += self._receive()
        head, _, body = got.partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200 "):
            raise RuntimeError(head.partition(b"\r\n")[0].decode())
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        while len(body) < length:
            body += self._receive()
        self.done += 1
        return body

    def ask_until(self, end: float) -> None:
        """Ask again and again, once at least."""
        self.ask()
        while time.monotonic() < end:
            self.ask()

    def _receive(self) -> bytes:
        more = self._socket.recv(65536)
        if not more:
            raise RuntimeError("The site closed the connection.")
        return more


def main() -> None:
    """Connect, and ask as long as stdin says."""
    port, connections = map(int, sys.argv[1:])
    visitors = [Visitor(port) for _ in range(connections)]
    answer({"ask": lambda seconds: ask(visitors, seconds), "once": lambda: len(visitors[0].ask())})


def ask(visitors: list[Visitor], seconds: float) -> int:
    """Return how many answers came."""
    before = sum(visitor.done for visitor in visitors)
    end = time.monotonic() + seconds
    failures: list[Exception] = []

    def work(visitor: Visitor) -> None:
        try:
            visitor.ask_until(end)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(visitor,)) for visitor in visitors]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return sum(visitor.done for visitor in visitors) - before


if __name__ == "__main__":
    main()
