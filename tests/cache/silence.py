"""A channel that hears nothing, while its connection stays up: a peer that hangs."""

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Any

from redis_optimizer.channel import Channel
from redis_optimizer.link import Link
from tests.servers import wait_until

STEP = 0.02  # seconds


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Let no channel hear anything inside the block, not even the end of its connection."""
    poll = Link.poll
    silent, deaf = threading.Event(), threading.Event()

    def hear_in_steps(link: Link, timeout: float) -> Any:
        if not silent.is_set():
            return poll(link, min(timeout, STEP))
        deaf.set()
        time.sleep(min(timeout, STEP))
        return None

    Link.poll = hear_in_steps  # type: ignore[method-assign]
    try:
        # The thread comes in at its next event: an answer to a PING of ours, which is no read.
        channels = _wake_all()
        # Else one of these PINGs may stay unanswered, and a reader sends none of its own.
        wait_until(lambda: all(channel._ping_sent is None for channel in channels))
        silent.set()
        assert deaf.wait(60)
        yield
    finally:
        Link.poll = poll  # type: ignore[method-assign]


def _wake_all() -> list[Channel]:
    from redis_optimizer.cache import registry

    channels = list(registry._channels.values())
    for channel in channels:
        channel.ping()
    return channels
