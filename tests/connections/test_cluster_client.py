"""The connections of a cluster's client."""

from collections.abc import Iterator
from typing import Any

import pytest
from redis.connection import Connection
from redis.exceptions import ConnectionError as RedisConnectionError

from redis_optimizer.connections.cluster_client import telling
from redis_optimizer.embedded import HOST, EmbeddedServer


@pytest.fixture
def connection(server: EmbeddedServer) -> Iterator[Any]:
    made = telling(Connection)(host=HOST, port=server.port)
    made.connect()
    yield made
    made.disconnect()


def test_one_that_another_thread_closes_before_the_answer_fails_as_one_that_breaks(
    connection: Any,
) -> None:
    connection.send_command("PING")
    connection._parser.on_disconnect()  # as far as the other thread has come
    with pytest.raises(RedisConnectionError):  # hiredis says so in words of its own
        connection.read_response()


def test_one_that_another_thread_closes_before_it_is_asked_fails_as_one_that_breaks(
    connection: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "check_health", connection.disconnect)
    with pytest.raises(RedisConnectionError, match="Another thread closed"):
        connection.send_command("PING")
    monkeypatch.undo()
    connection.send_command("PING")
    assert connection.read_response() == b"PONG"
