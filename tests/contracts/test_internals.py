"""What redis_optimizer.internals leans on in redis-py, with every parser it has."""

import socket
import threading
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import redis
from django_redis.cache import RedisCache
from redis.connection import Connection

from redis_optimizer.embedded import HOST, EmbeddedServer
from redis_optimizer.internals import interrupt, is_connected, own_attributes, receive_pushes
from tests.servers import wait_until

PARSERS: list[Any] = [redis.connection.DefaultParser, redis.connection._RESP3Parser]


@pytest.fixture(params=PARSERS, ids=lambda parser: parser.__name__)
def connection(server: EmbeddedServer, request: pytest.FixtureRequest) -> Any:
    made = Connection(host=HOST, port=server.port, protocol=3, parser_class=request.param)
    made.connect()
    yield made
    made.disconnect()


def test_pushes_of_both_kinds_are_received_and_nothing_else(
    connection: Any, admin: redis.Redis
) -> None:
    pushes: list[Any] = []
    receive_pushes(connection, pushes.append)
    connection.send_command("CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", "t:")
    assert connection.read_response() == b"OK"
    connection.send_command("SUBSCRIBE", "news")
    assert connection.read_response(push_request=True) is None
    admin.set("t:k", 1)
    admin.publish("news", "now")

    def heard() -> bool:
        while connection.can_read(0):
            assert connection.read_response(push_request=True) is None
        return len(pushes) == 3

    wait_until(heard)
    assert [push[0] for push in pushes] == [b"subscribe", b"invalidate", b"message"]
    assert pushes[1][1] == [b"t:k"]
    connection.send_command("PING")
    assert connection.read_response(push_request=True) == b"PONG"
    admin.flushdb()
    wait_until(lambda: connection.can_read(0))
    assert connection.read_response(push_request=True) is None
    assert pushes[3] == [b"invalidate", None]


def test_a_read_that_waits_is_ended(connection: Any) -> None:
    began, ended = threading.Event(), threading.Event()

    def wait() -> None:
        began.set()
        try:
            if connection.can_read(30):
                connection.read_response(push_request=True)
        except (redis.ConnectionError, OSError):
            ended.set()

    thread = threading.Thread(target=wait)
    thread.start()
    assert began.wait(60)
    interrupt(connection)
    assert ended.wait(60)
    thread.join(60)


def test_a_connection_that_is_closed_already_can_be_interrupted(connection: Any) -> None:
    connection.disconnect()
    interrupt(connection)


def test_the_socket_is_a_socket(connection: Any) -> None:
    assert isinstance(connection._sock, socket.socket)


def test_a_connection_is_known_to_be_open(connection: Any) -> None:
    assert is_connected(connection)
    connection.disconnect()
    assert not is_connected(connection)


def test_what_the_debug_toolbar_put_on_a_cache_is_known() -> None:
    source = Path(find_spec("debug_toolbar").origin).parent / "panels" / "cache.py"  # type: ignore[union-attr,arg-type]
    assert 'if not hasattr(cache, "_djdt_panel"):' in source.read_text()  # its models need its app
    cache: Any = RedisCache("redis://127.0.0.1:1/0", {})
    before = own_attributes(cache)
    cache._djdt_panel, cache.get = None, lambda key: None
    assert (
        own_attributes(cache)
        == before
        == RedisCache("redis://127.0.0.1:1/0", {}).__dict__ | {"_server": cache._server}
    )
