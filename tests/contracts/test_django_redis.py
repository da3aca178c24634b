"""What TieredCache leans on in django-redis."""

import inspect
import pickle
from typing import Any
from unittest import mock

import pytest
from django_redis.cache import CONNECTION_INTERRUPTED, RedisCache, omit_exception
from django_redis.client.default import DefaultClient
from django_redis.exceptions import ConnectionInterrupted
from django_redis.serializers.pickle import PickleSerializer
from django_redis.util import CacheKey
from redis.exceptions import ConnectionError

from redis_optimizer.cache import methods
from redis_optimizer.embedded import EmbeddedServer
from redis_optimizer.internals import set_client, set_raising


class Tap:
    """A raw client that answers what is asked of it, and notes it."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, tuple[str, ...]]] = []

    def get(self, *keys: str) -> bytes:
        self.asked.append(("get", keys))
        return b"7"

    def mget(self, *keys: str) -> list[bytes | None]:
        self.asked.append(("mget", keys))
        return [b"7", None]


def backend(**options: Any) -> RedisCache[Any]:
    return RedisCache("redis://127.0.0.1:1/0", {"KEY_PREFIX": "t", "OPTIONS": options})


def test_a_read_takes_a_client_and_asks_it_once_for_the_final_keys() -> None:
    tap: Any = Tap()
    assert backend().get("k", client=tap) == 7
    assert backend().get_many(["k", "l"], client=tap) == {"k": 7}
    assert tap.asked == [("get", ("t:1:k",)), ("mget", ("t:1:k", "t:1:l"))]
    assert all(type(key) is CacheKey for _, keys in tap.asked for key in keys)


def test_a_final_key_equals_its_text() -> None:
    assert {CacheKey("t:1:k"): 1}["t:1:k"] == 1


def test_an_ignored_exception_gives_the_return_value() -> None:
    class Cache(RedisCache[Any]):
        @omit_exception(return_value=CONNECTION_INTERRUPTED)
        def fail(self) -> None:
            raise ConnectionInterrupted(connection=None) from ValueError("cause")

    params: dict[str, Any] = {"OPTIONS": {"IGNORE_EXCEPTIONS": True}}
    assert Cache("redis://127.0.0.1:1", params).fail() is CONNECTION_INTERRUPTED  # type: ignore[func-returns-value]
    with pytest.raises(ValueError, match="cause"):
        Cache("redis://127.0.0.1:1", {}).fail()


@pytest.mark.parametrize("name", methods.WRITES)
def test_a_writer_names_its_keys_as_the_table_does(name: str) -> None:
    parameters = inspect.signature(getattr(DefaultClient, name)).parameters
    for key, version in methods.WRITES[name]:
        assert key in parameters
        assert version is None or version in parameters


def test_the_default_serializer_is_pickle_and_nothing_more() -> None:
    value = {"k": [1]}
    assert PickleSerializer({}).dumps(value) == pickle.dumps(value, pickle.DEFAULT_PROTOCOL)
    client = backend().client
    assert client.decode(pickle.dumps(value)) == value
    assert client.encode(7) == 7
    assert client.encode(value) == pickle.dumps(value, pickle.DEFAULT_PROTOCOL)


def test_the_private_names_are_there() -> None:
    cache = backend(SERIALIZER="django_redis.serializers.json.JSONSerializer")
    assert cache._client_cls is DefaultClient
    assert cache.client._options["SERIALIZER"].endswith("JSONSerializer")


def test_a_sharded_or_herded_client_reads_in_its_own_way() -> None:
    from django_redis.client import HerdClient, ShardClient

    for client in (HerdClient, ShardClient):
        assert client.get is not DefaultClient.get


def test_every_client_class_gets_its_connections_from_its_factory() -> None:
    for name in ("DefaultClient", "HerdClient", "ShardClient"):
        client = backend(CLIENT_CLASS=f"django_redis.client.{name}").client
        factory = client.connection_factory
        assert ".connection_factory" in inspect.getsource(type(client).connect)
        assert factory.connect("redis://127.0.0.1:1/0").connection_pool is not None


def test_a_backend_that_shall_raise_ignores_no_exception() -> None:
    cache = backend(IGNORE_EXCEPTIONS=True)
    assert cache.clear() is None  # nothing is there, and it says nothing
    set_raising(cache)
    with pytest.raises(ConnectionError):
        cache.clear()


def test_a_backend_uses_the_client_that_it_is_given(server: EmbeddedServer) -> None:
    backend = RedisCache(server.url, {})
    client = mock.Mock()
    set_client(backend, client)
    assert backend.client is client
    backend.set("k", 1)
    client.set.assert_called_once_with("k", 1)
    backend.close()
    client.close.assert_called_once_with()
