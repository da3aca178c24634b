"""The OPTIONS of a django-redis cache."""

import threading
import time
from typing import Any

import pytest
import redis
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings
from django_redis.cache import RedisCache
from django_redis.pool import get_connection_factory
from redis.connection import BlockingConnectionPool

from redis_optimizer.connections import cache_options, result_pool
from redis_optimizer.embedded import EmbeddedServer


def make_pool(url: str, **options: Any) -> redis.ConnectionPool:
    """Return the pool that django-redis makes, and keep it out of those it shares."""
    factory = get_connection_factory(cache_options(url, **options))
    return factory.get_connection_pool(factory.make_connection_params(url))


def test_django_redis_makes_a_pool_that_waits() -> None:
    pool = make_pool("redis://h:1/0")
    assert isinstance(pool, BlockingConnectionPool)
    assert (pool.max_connections, pool.timeout) == (5, 5)
    assert pool.connection_kwargs["socket_timeout"] == 5
    assert pool.connection_kwargs["socket_connect_timeout"] == 10
    assert pool.connection_kwargs["socket_keepalive"] is True
    assert "retry" not in pool.connection_kwargs


def test_each_of_them_can_be_set() -> None:
    options = {"max_connections": 2, "timeout": 3.0, "connect_timeout": 4.0, "keepalive": 0}
    pool = make_pool("redis://h:1/0", **options)
    assert (pool.max_connections, pool.timeout) == (2, 3)
    assert pool.connection_kwargs["socket_connect_timeout"] == 4
    assert "socket_keepalive" not in pool.connection_kwargs


def test_nothing_connects_before_it_is_needed(server: EmbeddedServer) -> None:
    pool = make_pool(server.url)
    assert pool.connection_kwargs["port"] == server.port
    assert redis.Redis(connection_pool=pool).ping()
    pool.disconnect()


def test_a_cache_works_with_them(server: EmbeddedServer) -> None:
    url = f"redis://localhost:{server.port}/3"  # whose pool no other test has made
    cache: Any = RedisCache(url, {"OPTIONS": cache_options(url)})
    cache.set("a", 1)
    assert cache.get("a") == 1


def test_a_unix_socket_takes_no_keepalive() -> None:
    pool = make_pool("unix:///run/redis.sock?db=1")
    pool.make_connection()  # would raise on an option that it does not know
    assert pool.connection_kwargs["path"] == "/run/redis.sock"
    assert "socket_keepalive" not in pool.connection_kwargs


def test_sentinels_are_for_django_redis_itself() -> None:
    with pytest.raises(ImproperlyConfigured, match="SentinelClient"):
        cache_options("sentinel://h:26379")


def test_two_calls_share_nothing() -> None:
    cache_options("redis://h")["CONNECTION_POOL_KWARGS"]["max_connections"] = 99
    assert cache_options("redis://h")["CONNECTION_POOL_KWARGS"]["max_connections"] == 5


def test_a_result_backend_waits_for_a_connection(server: EmbeddedServer) -> None:
    pool = result_pool(max_connections=1, host="127.0.0.1", port=server.port, socket_timeout=20)
    lent = pool.get_connection()
    got: list[Any] = []
    thread = threading.Thread(target=lambda: got.append(pool.get_connection()))
    thread.start()
    time.sleep(0.1)
    assert not got
    pool.release(lent)
    thread.join(60)
    assert got == [lent]
    pool.disconnect()


def test_a_result_backend_without_a_limit_never_waits() -> None:
    assert type(result_pool(max_connections=None, socket_timeout=5)) is redis.ConnectionPool


@override_settings(REDIS_OPTIMIZER={"ENABLED": False})
def test_a_pool_for_results_is_redis_pys_own_when_switched_off() -> None:
    pool = result_pool(max_connections=3, socket_timeout=5)
    assert type(pool) is redis.ConnectionPool
    assert pool.max_connections == 3
