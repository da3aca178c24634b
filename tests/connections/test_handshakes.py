"""What can be said of a pool's connections before there are any."""

from collections.abc import Iterator

import pytest
import redis
from redis.connection import ConnectionPool

from redis_optimizer.connections import handshake_of, timeout_of
from redis_optimizer.embedded import EmbeddedServer


@pytest.fixture(scope="module")
def locked() -> Iterator[EmbeddedServer]:
    with EmbeddedServer(args=("--requirepass", "secret")) as running:
        yield running


@pytest.mark.parametrize(
    "query", ["0", "3", "0?protocol=2", "2?protocol=3&client_name=a", "2?protocol=2&client_name=a"]
)
@pytest.mark.parametrize("password", ["", ":secret@"])
def test_what_connecting_costs_is_known(
    server: EmbeddedServer, locked: EmbeddedServer, password: str, query: str
) -> None:
    port = (locked if password else server).port
    url = f"redis://{password}127.0.0.1:{port}/{query}"
    with redis.Redis.from_url(f"redis://{password}127.0.0.1:{port}/0") as client:
        client.ping()
        pool = ConnectionPool.from_url(url)
        before = client.info("stats")["total_commands_processed"]
        pool.get_connection().connect()
        after = client.info("stats")["total_commands_processed"]
        pool.disconnect()
    assert handshake_of(pool) == after - before - 1  # the second INFO knows of the first


def test_how_long_a_connection_waits_is_known() -> None:
    url = "redis://127.0.0.1:1/0"
    assert timeout_of(ConnectionPool.from_url(f"{url}?socket_timeout=3")) == 3
    assert timeout_of(ConnectionPool.from_url(url, socket_timeout=None)) is None
    own = ConnectionPool.from_url(url).connection_class().socket_timeout  # that of redis-py
    assert timeout_of(ConnectionPool.from_url(url)) == own
