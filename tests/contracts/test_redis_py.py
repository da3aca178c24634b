"""What command budgets lean on: every command passes one of two methods of redis-py, once."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from redis.connection import (
    AbstractConnection,
    Connection,
    SSLConnection,
    UnixDomainSocketConnection,
)
from redis.sentinel import SentinelManagedConnection

from redis_optimizer.embedded import HOST, EmbeddedServer
from redis_optimizer.testing.commands import HANDSHAKE

Calls = list[tuple[str, list[str]]]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """Return the calls of the two methods, with the names of the commands."""
    seen: Calls = []

    def watch(name: str, commands_of: Callable[..., list[Any]]) -> None:
        original = getattr(AbstractConnection, name)

        def method(self: Any, *args: Any, **kwargs: Any) -> Any:
            seen.append((name, [str(command[0]) for command in commands_of(*args)]))
            return original(self, *args, **kwargs)

        monkeypatch.setattr(AbstractConnection, name, method)

    watch("send_command", lambda *args: [args])
    watch("pack_commands", list)
    return seen


@pytest.fixture
def client(server: EmbeddedServer) -> Iterator[redis.Redis]:
    """Yield a client that is connected."""
    with redis.Redis(HOST, server.port) as client:
        client.ping()
        yield client


def test_a_command_alone_is_sent_by_send_command(client: redis.Redis, calls: Calls) -> None:
    client.set("a", 1)
    assert calls == [("send_command", ["SET"])]


def test_a_pipeline_is_packed_at_once(client: redis.Redis, calls: Calls) -> None:
    client.pipeline(transaction=False).set("a", 1).get("a").execute()
    assert calls == [("pack_commands", ["SET", "GET"])]


def test_a_transaction_is_packed_with_multi_and_exec(client: redis.Redis, calls: Calls) -> None:
    client.pipeline().set("a", 1).execute()
    assert calls == [("pack_commands", ["MULTI", "SET", "EXEC"])]


def test_watching_and_subscribing_are_sent_by_send_command(
    client: redis.Redis, calls: Calls
) -> None:
    with client.pipeline() as pipeline:
        pipeline.watch("a")
        pipeline.get("a")
        pipeline.unwatch()
    with client.pubsub() as subscription:
        subscription.subscribe("channel")
    assert {name for name, _ in calls} == {"send_command"}
    sent = [command for _, (command,) in calls]
    assert sent[:3] == ["WATCH", "GET", "UNWATCH"]
    assert "SUBSCRIBE" in sent


def test_opening_a_connection_sends_known_commands_alone(
    server: EmbeddedServer, client: redis.Redis, calls: Calls
) -> None:
    client.execute_command("ACL", "SETUSER", "site", "on", ">secret", "allcommands", "allkeys")
    calls.clear()
    for protocol in (2, 3):
        pool = redis.ConnectionPool(
            host=HOST,
            port=server.port,
            db=1,
            username="site",
            password="secret",
            client_name="site",
            protocol=protocol,
        )
        pool.get_connection()
        pool.disconnect()
    client.execute_command("ACL", "DELUSER", "site")
    opening = [command for _, (command,) in calls if command != "ACL"]
    assert {"HELLO", "AUTH", "SELECT", "CLIENT"} == set(opening)
    assert set(opening) <= {name.split()[0] for name in HANDSHAKE}


@pytest.mark.parametrize(
    "connection_class",
    [Connection, SSLConnection, UnixDomainSocketConnection, SentinelManagedConnection],
)
def test_no_kind_of_connection_sends_its_own_way(connection_class: type) -> None:
    for name in ("send_command", "pack_commands"):
        assert getattr(connection_class, name) is getattr(AbstractConnection, name)
