"""Command budgets: what they count, what they leave out, and how they fail."""

import asyncio
import inspect
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from django.core.cache import caches
from django.core.cache.backends.base import InvalidCacheBackendError
from django.http import HttpRequest
from django.test import RequestFactory
from django_redis import get_redis_connection
from redis.connection import AbstractConnection

from redis_optimizer.decorators import cached_status
from redis_optimizer.embedded import HOST, EmbeddedServer
from redis_optimizer.health.verdict import get_verdict, peek_verdict
from redis_optimizer.management.benchmark.server import CommandCounter
from redis_optimizer.testing import SentCommands, assert_max_commands, clear_l1, clear_responses
from redis_optimizer.testing.commands import HANDSHAKE
from tests.servers import sentinel, wait_until

pytest_plugins = ["redis_optimizer.testing"]

plain = caches["plain"]


def names(sent: SentCommands) -> list[str]:
    return [command.name for command in sent.commands]


@pytest.fixture
def connected() -> None:
    """Open the connection of the plain cache, so that no handshake falls into the test."""
    plain.get("warm")


@pytest.fixture
def other_server() -> Iterator[EmbeddedServer]:
    with EmbeddedServer() as other:
        yield other


def do_some_of_everything() -> None:
    plain.set("a", 1)
    plain.get("a")
    plain.set_many({"b": 2, "c": 3})
    plain.get_many(["a", "b"])
    plain.sadd("set", 1)
    plain.delete_pattern("b*")
    get_redis_connection("plain").client_list()


class TestCounting:
    def test_sees_what_the_server_counts(self, admin: redis.Redis) -> None:
        get_redis_connection("plain").connection_pool.disconnect()
        counter = CommandCounter(admin)

        with assert_max_commands(100, "plain") as sent:
            do_some_of_everything()

        by_server = counter.lap()
        opened = Counter({name: n for name, n in by_server.items() if name in HANDSHAKE})
        assert Counter(names(sent)) == by_server - opened
        assert len(sent) == len(sent.commands) > 10
        assert opened - Counter(command.name for command in sent.handshake) == Counter()
        assert opened["CLIENT SETINFO"] == 2

    def test_lists_commands_in_the_order_of_sending(self, connected: None) -> None:
        with assert_max_commands(4, "plain") as sent:
            plain.set_many({"a": 1, "b": 2})

        assert names(sent) == ["MULTI", "SET", "SET", "EXEC"]
        assert [command.argument for command in sent.commands] == ["", "t:1:a", "t:1:b", ""]

    def test_covers_all_threads(self, connected: None) -> None:
        threads = [threading.Thread(target=plain.get, args=("a",)) for _ in range(3)]
        with assert_max_commands(3, "plain") as sent:
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

        assert names(sent) == ["GET"] * 3

    def test_ignores_other_servers(self, other_server: EmbeddedServer) -> None:
        with redis.Redis(HOST, other_server.port) as other, assert_max_commands(0, "plain"):
            other.set("a", 1)

    def test_covers_other_clients_of_the_same_server(self, server: EmbeddedServer) -> None:
        with (
            redis.Redis("localhost", server.port) as same,
            assert_max_commands(1, "plain") as sent,
        ):
            same.set("a", 1)

        assert names(sent) == ["SET"]

    def test_leaves_out_the_channel_and_its_probe(self, admin: redis.Redis) -> None:
        counter = CommandCounter(admin)
        with assert_max_commands(0):
            assert caches["default"].tier.wait_ready(5)

        assert {"CLIENT TRACKING", "SET"} <= set(counter.lap())

    def test_covers_a_unix_socket(self, tmp_path: Path, settings: Any) -> None:
        path = tmp_path / "redis.sock"
        with EmbeddedServer(args=("--unixsocket", str(path))):
            settings.CACHES = {
                "default": {
                    "BACKEND": "django_redis.cache.RedisCache",
                    "LOCATION": f"unix://{path}?db=1",
                }
            }
            with assert_max_commands(1) as sent:
                caches["default"].set("a", 1)

        assert names(sent) == ["SET"]
        assert "SELECT" in [command.name for command in sent.handshake]

    def test_covers_a_password_with_what_separates_urls_elsewhere(self, settings: Any) -> None:
        with EmbeddedServer(args=("--requirepass", "a;b")) as server:
            location = server.url.replace("redis://", "redis://:a;b@")
            settings.CACHES = {
                "default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": location}
            }
            with assert_max_commands(1) as sent:
                caches["default"].set("a", 1)

        assert names(sent) == ["SET"]

    def test_covers_the_master_that_sentinel_names(self, settings: Any) -> None:
        with sentinel() as group:
            settings.CACHES = {
                "default": {
                    "BACKEND": "django_redis.cache.RedisCache",
                    "LOCATION": f"redis://{group.name}/0",
                    "OPTIONS": {
                        "CLIENT_CLASS": "django_redis.client.SentinelClient",
                        "CONNECTION_FACTORY": "django_redis.pool.SentinelConnectionFactory",
                        "SENTINELS": group.addresses,
                    },
                }
            }
            with assert_max_commands(1) as sent:
                caches["default"].set("a", 1)

        assert names(sent) == ["SET"]


class TestBudget:
    def test_fails_with_a_readable_list(self, connected: None) -> None:
        def spend() -> None:
            with assert_max_commands(1, "plain"):
                plain.get("a")
                plain.get("b")

        with pytest.raises(AssertionError) as failure:
            spend()

        message = str(failure.value)
        assert "2 commands" in message
        assert "at most 1" in message
        assert "GET t:1:a" in message
        line = line_of(self.test_fails_with_a_readable_list, 'plain.get("b")')
        assert f"{__file__}:{line}" in message

    def test_shows_opened_connections_but_does_not_count_them(self) -> None:
        get_redis_connection("plain").connection_pool.disconnect()
        with (
            pytest.raises(AssertionError, match=r"to open connections: .*2 CLIENT SETINFO"),
            assert_max_commands(0, "plain"),
        ):
            plain.get("a")
        with assert_max_commands(1, "plain"):
            get_redis_connection("plain").connection_pool.disconnect()
            plain.get("a")

    def test_cuts_a_long_list_short(self, connected: None) -> None:
        @assert_max_commands(0, "plain")
        def read(times: int) -> None:
            for _ in range(times):
                plain.get("a")

        with pytest.raises(AssertionError, match="and 2 more"):
            read(42)

    def test_nests(self, connected: None) -> None:
        with assert_max_commands(2, "plain") as outer:
            plain.get("a")
            with assert_max_commands(1, "plain") as inner:
                plain.get("a")

        assert (len(outer), len(inner)) == (2, 1)

    def test_decorates_functions(self, connected: None) -> None:
        @assert_max_commands(1, "plain")
        def read(times: int) -> str:
            for _ in range(times):
                plain.get("a")
            return "done"

        assert read(1) == "done"
        assert read(1) == "done"
        with pytest.raises(AssertionError):
            read(2)

    def test_decorates_coroutines(self, connected: None) -> None:
        @assert_max_commands(0, "plain")
        async def read() -> None:
            await asyncio.sleep(0)
            await plain.aget("a")

        with pytest.raises(AssertionError, match="GET"):
            asyncio.run(read())

    def test_lets_the_errors_of_the_block_through(self) -> None:
        @assert_max_commands(0, "plain")
        def fail() -> None:
            plain.get("a")
            raise KeyError

        with pytest.raises(KeyError):
            fail()

    def test_leaves_redis_py_as_it_was(self) -> None:
        before = AbstractConnection.send_command, AbstractConnection.pack_commands
        with assert_max_commands(0, "plain"), assert_max_commands(0, "plain"):
            assert AbstractConnection.send_command is not before[0]

        assert (AbstractConnection.send_command, AbstractConnection.pack_commands) == before

    def test_refuses_a_cache_that_is_not_on_redis(self, settings: Any) -> None:
        settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
        with pytest.raises(ValueError, match="'default' is not on Redis"), assert_max_commands(0):
            pass
        with pytest.raises(InvalidCacheBackendError), assert_max_commands(0, "nowhere"):
            pass

    def test_is_a_fixture(self, request: pytest.FixtureRequest) -> None:
        assert request.getfixturevalue("assert_max_commands") is assert_max_commands


def line_of(function: Callable[..., None], text: str) -> int:
    """Return the number of the function's line that reads `text`."""
    lines, first = inspect.getsourcelines(function)
    return first + [line.strip() for line in lines].index(text)


def test_clear_l1_empties_the_l1_of_every_cache() -> None:
    cache = caches["default"]
    assert cache.tier.wait_ready(5)
    cache.set("a", 1)

    def is_served() -> bool:
        # The invalidation of the write may still undo the first reads' fills.
        with assert_max_commands(2) as sent:
            cache.get("a")
        return len(sent) == 0

    wait_until(is_served)
    clear_l1()

    with assert_max_commands(2) as sent:
        assert cache.get("a") == 1
    assert "GET" in names(sent)


def test_clear_responses_forgets_those_of_cached_views_and_verdicts() -> None:
    calls: list[str] = []

    @cached_status(60, vary=None)
    def view(request: HttpRequest) -> dict[str, Any]:
        calls.append(request.path)
        return {}

    for _ in range(2):
        view(RequestFactory().get("/"))
        get_verdict()
    assert len(calls) == 1
    assert peek_verdict() is not None
    clear_responses()
    assert peek_verdict() is None
    view(RequestFactory().get("/"))
    assert len(calls) == 2


def test_importing_the_plugin_imports_neither_django_nor_redis() -> None:
    code = (
        "import sys, redis_optimizer.testing\n"
        "sys.exit(str([name for name in ('django', 'redis', 'celery') if name in sys.modules]))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.stderr.strip() == "[]"
