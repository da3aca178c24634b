"""What a process sends is counted as the server counts it, by what its connections are for."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import redis
from django.test import override_settings
from redis.connection import ConnectionPool, UnixDomainSocketConnection

from redis_optimizer.connections import (
    channel_connection,
    count_pool,
    open_connections,
    result_pool,
    sent,
    server_of,
)
from redis_optimizer.connections.counting import counting, uncounted
from redis_optimizer.embedded import HOST, EmbeddedServer
from tests.cache.caches import counted


@pytest.fixture
def pool(server: EmbeddedServer) -> Iterator[ConnectionPool]:
    # With RESP3 redis-py 8 begins by a command that most servers do not know, and do not count.
    pool = ConnectionPool(host=HOST, port=server.port, protocol=2)
    count_pool(pool, "cache")
    yield pool
    pool.disconnect()


@contextmanager
def sending(purpose: str) -> Iterator[list[int]]:
    """Yield a list that, at the end, holds how many commands were counted."""
    before, counts = sent()[purpose], []
    yield counts
    counts.append(sent()[purpose] - before)


def test_each_command_is_counted_as_the_server_counts_it(
    pool: ConnectionPool, admin: redis.Redis
) -> None:
    client = redis.Redis(connection_pool=pool)
    with counted(admin) as calls, sending("cache") as counts:
        client.set("a", 1)
        client.pipeline(transaction=False).get("a").get("b").execute()
        client.pipeline().incr("a").execute()
        with client.pubsub() as pubsub:
            pubsub.subscribe("news")
            pubsub.get_message(timeout=10)
    assert {"client|setinfo", "set", "get", "multi", "incrby", "exec", "subscribe"} == calls.keys()
    assert counts == [sum(calls.values())]


def test_what_a_script_calls_is_seen_by_the_server_alone(
    pool: ConnectionPool, admin: redis.Redis
) -> None:
    client = redis.Redis(connection_pool=pool)
    client.ping()
    with counted(admin) as calls, sending("cache") as counts:
        client.eval("return redis.call('SET', KEYS[1], 1)", 1, "a")
    assert calls == {"eval": 1, "set": 1}
    assert counts == [1]


def test_a_repetition_is_counted_again(pool: ConnectionPool, admin: redis.Redis) -> None:
    client = redis.Redis(connection_pool=pool)
    client.ping()
    pool.disconnect()
    with counted(admin) as calls, sending("cache") as counts:
        client.get("a")
    assert calls["get"] == 1
    assert counts == [sum(calls.values())]


def test_connections_are_known_while_they_are_open(pool: ConnectionPool) -> None:
    before = open_connections()["cache"]
    first, second = pool.get_connection(), pool.get_connection()
    assert open_connections()["cache"] == before + 2
    pool.release(first)
    assert open_connections()["cache"] == before + 2
    second.disconnect()
    assert open_connections()["cache"] == before + 1
    pool.disconnect()
    assert open_connections()["cache"] == before


def test_a_channel_is_counted_by_itself(pool: ConnectionPool) -> None:
    before = open_connections()
    with sending("cache") as cache, sending("channel") as channel:
        connection = channel_connection(pool, timeout=5, protocol=2)
        connection.send_command("PING")
        connection.read_response()
    assert cache == [0]
    assert channel == [1]
    assert open_connections() == before | {"channel": before["channel"] + 1}
    connection.disconnect()


def test_pools_that_count_and_others_lead_to_one_server(
    pool: ConnectionPool, server: EmbeddedServer
) -> None:
    assert server_of(pool) == server_of(ConnectionPool(host=HOST, port=server.port))


@pytest.mark.parametrize("limit", [2, None])
def test_a_pool_of_results_is_counted(server: EmbeddedServer, limit: int | None) -> None:
    pool = result_pool(max_connections=limit, host=HOST, port=server.port)
    with sending("results") as counts:
        redis.Redis(connection_pool=pool).ping()
    pool.disconnect()
    assert counts[0] >= 1


def test_a_pool_is_counted_for_one_purpose() -> None:
    pool = ConnectionPool()
    count_pool(pool, "cache")
    first = pool.connection_class
    count_pool(pool, "results")
    assert pool.connection_class is first
    assert counting(first, "channel") is counting(uncounted(first), "channel")


def test_a_class_stays_what_it_was() -> None:
    made = counting(UnixDomainSocketConnection, "cache")
    assert issubclass(made, UnixDomainSocketConnection)
    assert made.__name__ == "UnixDomainSocketConnection"
    assert uncounted(made) is UnixDomainSocketConnection
    assert uncounted(UnixDomainSocketConnection) is UnixDomainSocketConnection
    # kombu makes a class of its own from ours: what it adds must not be lost.
    heir = type("Heir", (made,), {})
    assert uncounted(heir) is heir
    assert issubclass(counting(heir, "channel"), heir)


def test_an_heir_of_a_class_that_counts_is_counted_for_another_purpose(
    pool: ConnectionPool, server: EmbeddedServer
) -> None:
    heir = type("Heir", (pool.connection_class,), {})
    theirs = ConnectionPool(heir, host=HOST, port=server.port)
    with sending("cache") as cache, sending("channel") as channel:
        connection = channel_connection(theirs, timeout=5, protocol=2)
        connection.send_command("PING")
        connection.read_response()
    connection.disconnect()
    assert (cache, channel) == ([0], [1])


def test_a_channel_beside_a_pool_of_kombus_event_loop_is_counted_once(
    server: EmbeddedServer,
) -> None:
    heir = type("Heir", (counting(redis.Connection, "broker"),), {})
    pool = ConnectionPool(connection_class=heir, host=HOST, port=server.port)
    with sending("broker") as broker, sending("channel") as channel:
        connection = channel_connection(pool, timeout=5, protocol=2)
        connection.send_command("PING")
        connection.read_response()
        connection.disconnect()
    assert isinstance(connection, heir)
    assert (broker, channel) == ([0], [1])


def test_what_makes_connections_in_its_own_way_is_left_alone() -> None:
    pool: Any = SimpleNamespace(connection_class=lambda **options: redis.Connection(**options))
    made = pool.connection_class
    count_pool(pool, "cache")
    assert pool.connection_class is made
    count_pool(None, "cache")


@override_settings(REDIS_OPTIMIZER={"ENABLED": False})
def test_nothing_is_counted_where_the_package_is_switched_off(server: EmbeddedServer) -> None:
    pool = ConnectionPool(host=HOST, port=server.port)
    count_pool(pool, "cache")
    assert pool.connection_class is redis.Connection
    with sending("channel") as counts:
        channel_connection(pool, timeout=5).disconnect()
    assert counts == [0]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform cannot fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_child_counts_from_0(pool: ConnectionPool) -> None:
    connection: Any = pool.get_connection()
    child = os.fork()
    if not child:
        right = not any(sent().values()) and not any(open_connections().values())
        os._exit(0 if right else 1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert sent()["cache"] > 0
    pool.release(connection)
