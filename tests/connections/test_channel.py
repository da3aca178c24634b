"""Connections made from the pool that the data goes through."""

import time
from typing import Any

import pytest
import redis
from redis.backoff import ConstantBackoff, NoBackoff
from redis.connection import SSLConnection
from redis.retry import Retry
from redis.sentinel import Sentinel

from redis_optimizer.connections import (
    CONNECT_TIMEOUT,
    channel_connection,
    master_address,
    server_of,
)
from redis_optimizer.embedded import HOST, EmbeddedServer, free_port


def pool(url: str, **options: Any) -> redis.ConnectionPool:
    return redis.ConnectionPool.from_url(url, **options)


def sentinel_pool(port: int, service: str = "mymaster") -> redis.ConnectionPool:
    once = {"retry": Retry(NoBackoff(), 0), "socket_timeout": 0.2}
    manager = Sentinel([(HOST, port)], sentinel_kwargs=once)  # type: ignore[no-untyped-call]
    found: redis.ConnectionPool = manager.master_for(service).connection_pool  # type: ignore[no-untyped-call]
    return found


@pytest.mark.parametrize(
    "other",
    [
        pool("redis://h:1/3"),
        pool("redis://h:1/0", socket_timeout=9, protocol=2),
        pool("redis://h:1?max_connections=4"),
    ],
    ids=["database", "options", "pool options"],
)
def test_these_are_one_server(other: redis.ConnectionPool) -> None:
    assert server_of(pool("redis://h:1/0")) == server_of(other)


def test_these_are_different_servers() -> None:
    pools = [
        pool("redis://h:1"),
        pool("redis://h:2"),
        pool("redis://i:1"),
        pool("rediss://h:1"),
        pool("redis://user:secret@h:1"),
        pool("unix:///h"),
        pool("unix:///i"),
        pool("redis://"),
        sentinel_pool(1),
        sentinel_pool(2),
        sentinel_pool(1, "other"),
    ]
    assert len({server_of(each) for each in pools}) == len(pools)


def test_a_server_without_an_address_is_the_local_one() -> None:
    assert server_of(redis.ConnectionPool()) == server_of(pool("redis://localhost:6379/1"))


def test_the_connection_is_named_and_speaks_what_is_asked(server: EmbeddedServer) -> None:
    for protocol in (2, 3):
        made = channel_connection(
            pool(f"{server.url}?protocol=2"), name="tests:name", protocol=protocol, timeout=5
        )
        made.send_command("CLIENT", "INFO")
        info = made.read_response()
        assert b" name=tests:name " in info
        assert f"resp={protocol}".encode() in info
        made.disconnect()


def test_opening_takes_no_more_commands_than_needed(
    server: EmbeddedServer, admin: redis.Redis
) -> None:
    admin.config_resetstat()
    channel_connection(pool(server.url), name="x", protocol=3, timeout=5).disconnect()
    stats = {name for name, s in admin.info("commandstats").items() if s["calls"]}
    assert stats - {"cmdstat_config|resetstat", "cmdstat_info"} == {
        "cmdstat_hello",
        "cmdstat_client|setname",
    }


def test_it_does_not_come_back_by_itself(server: EmbeddedServer, admin: redis.Redis) -> None:
    made = channel_connection(pool(server.url), name="x", protocol=3, timeout=5)
    made.disconnect()
    for use in (lambda: made.send_command("PING"), lambda: made.can_read(0), made.connect):
        with pytest.raises(redis.ConnectionError, match="lost"):
            use()
    assert "x" not in {client["name"] for client in admin.client_list()}


def test_it_is_not_the_pools(server: EmbeddedServer) -> None:
    data = pool(server.url, max_connections=1)
    made = channel_connection(data, name="x", protocol=3, timeout=5)
    assert redis.Redis(connection_pool=data).ping()
    made.disconnect()


def test_a_server_that_does_not_answer_is_not_waited_for_long() -> None:
    with EmbeddedServer() as own:
        own.freeze()
        began = time.monotonic()
        with pytest.raises(redis.TimeoutError):
            channel_connection(pool(own.url), name="x", protocol=3, timeout=0.3)
        assert time.monotonic() - began < CONNECT_TIMEOUT + 1
        own.thaw()


@pytest.mark.parametrize("retries", [None, 10])
def test_it_fails_at_once_whatever_the_pool_retries(retries: int | None) -> None:
    retry = None if retries is None else Retry(ConstantBackoff(10), retries)
    data = pool(f"redis://{HOST}:{free_port()}/0", retry=retry, retry_on_timeout=True)
    with pytest.raises(redis.ConnectionError):
        channel_connection(data, name="x", protocol=3, timeout=5)


def test_a_wrong_password_is_an_error_of_the_connection(server: EmbeddedServer) -> None:
    with EmbeddedServer(args=["--requirepass", "secret"]) as own:
        channel_connection(
            pool(own.url, password="secret"), name="x", protocol=3, timeout=5
        ).disconnect()
        with pytest.raises(redis.AuthenticationError):
            channel_connection(pool(own.url, password="no"), name="x", protocol=3, timeout=5)


def test_the_kind_of_connection_is_the_pools() -> None:
    data = pool(f"rediss://{HOST}:{free_port()}/0", ssl_cert_reqs="none")
    assert data.connection_class is SSLConnection
    with pytest.raises(redis.ConnectionError):
        channel_connection(data, name="x", protocol=3, timeout=1)


def test_without_sentinel_there_is_no_master_to_ask_for() -> None:
    assert master_address(pool("redis://h:1")) is None


def test_where_no_sentinel_knows_the_master_it_is_an_error() -> None:
    with pytest.raises(redis.ConnectionError):
        master_address(sentinel_pool(free_port()))
