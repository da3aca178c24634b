"""Channels that end with their test."""

import threading
from collections.abc import Callable, Iterator

import pytest
import redis

from redis_optimizer.channel import CLIENT_NAME, Channel
from redis_optimizer.embedded import HOST, EmbeddedServer
from tests.servers import wait_until

from .listeners import Listener


@pytest.fixture
def data(server: EmbeddedServer) -> Iterator[redis.Redis]:
    """Return a client whose pool the channel is made from."""
    with redis.Redis(HOST, server.port) as client:
        yield client


@pytest.fixture
def open_channel() -> Iterator[Callable[..., Channel]]:
    """Make channels that are stopped with the test."""
    made: list[Channel] = []

    def make(client: redis.Redis, *listeners: Listener) -> Channel:
        channel = Channel(client.connection_pool, "tests")
        made.append(channel)
        for listener in listeners:
            assert channel.subscribe(listener)
        for listener in listeners:
            listener.wait("up")
        if listeners:
            wait_until(lambda: channel.connects)  # counted just after it has told them
        return channel

    yield make
    for channel in made:
        channel.stop()
    assert not [thread for thread in threading.enumerate() if thread.name == CLIENT_NAME]
