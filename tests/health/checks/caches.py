"""Caches of the tests, and a check that must end by itself."""

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

from redis_optimizer.embedded import EmbeddedServer

PLAIN = "django_redis.cache.RedisCache"
TIERED = "redis_optimizer.cache.TieredCache"
ENDS = 30  # seconds within which a check of a server that does not answer must have ended


def alias(url: object, *, backend: str = PLAIN, **options: Any) -> dict[str, Any]:
    return {"BACKEND": backend, "LOCATION": url, "KEY_PREFIX": "t", "OPTIONS": options}


@contextlib.contextmanager
def frozen(server: EmbeddedServer) -> Iterator[None]:
    """Let a server answer nothing, though its host goes on taking connections."""
    os.kill(server.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(server.pid, signal.SIGCONT)


def outcome(run: Callable[[], Any]) -> Exception | None:
    """Run a check in a thread, as the runner does, and return what it raised.

    Raises:
        AssertionError: it did not end by itself.
    """
    raised: list[Exception] = []

    def work() -> None:
        try:
            run()
        except Exception as error:
            raised.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(ENDS)
    assert not thread.is_alive(), "It hangs."
    return raised[0] if raised else None
