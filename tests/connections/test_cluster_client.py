"""The connections of a cluster's client."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from redis.connection import Connection
from redis.exceptions import ConnectionError as RedisConnectionError

from redis_optimizer.connections.cluster_client import telling
from redis_optimizer.embedded import HOST, EmbeddedServer
from tests.servers import wait_until


@pytest.fixture
def connection(server: EmbeddedServer) -> Iterator[Any]:
    made = telling(Connection)(host=HOST, port=server.port)
    made.connect()
    yield made
    made.disconnect()


def test_one_that_another_thread_closes_while_it_waits_fails_as_one_that_breaks(
    connection: Any, admin: redis.Redis
) -> None:
    errors: list[Exception] = []

    def wait() -> None:
        try:
            connection.send_command("BLPOP", "nobody", 0)
            connection.read_response()
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    wait_until(lambda: admin.info("clients")["blocked_clients"])
    connection.disconnect()
    thread.join()
    assert [type(error) for error in errors] == [RedisConnectionError]


def test_a_reply_that_cannot_be_decoded_is_no_broken_connection(
    server: EmbeddedServer, admin: redis.Redis
) -> None:
    admin.set("k", b"\xff")
    connection = telling(Connection)(host=HOST, port=server.port, decode_responses=True)
    connection.send_command("GET", "k")
    with pytest.raises(UnicodeDecodeError):
        connection.read_response()
    connection.disconnect()


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
