"""What comes from outside: values, serializers, key functions, client classes, dead servers."""

import ast
import logging
import threading
from typing import Any

import pytest
import redis
from asgiref.sync import sync_to_async
from celery.exceptions import SoftTimeLimitExceeded
from django.core.cache import caches
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings
from django_redis.client.default import DefaultClient
from django_redis.serializers.base import BaseSerializer
from django_redis.serializers.json import JSONSerializer

from redis_optimizer.cache import TieredCache
from redis_optimizer.embedded import HOST, free_port
from tests.missing import go_without
from tests.servers import wait_until

from .caches import QUIET, channels, counted, is_kept, keep, plain, settle, tiered
from .calls import outcome

SERIALIZERS = ["pickle.PickleSerializer", "json.JSONSerializer", "msgpack.MSGPackSerializer"]
COMPRESSORS = ["identity.IdentityCompressor", "zlib.ZlibCompressor", "zstd.ZStdCompressor",
               "gzip.GzipCompressor", "lzma.LzmaCompressor", "lz4.Lz4Compressor"]  # fmt: skip
NEEDS = {"msgpack": "msgpack", "lz4": "lz4", "zstd": "compression.zstd|backports.zstd|pyzstd"}


def importable(path: str) -> bool:
    """Tell whether the library of a serializer or compressor is installed."""
    import importlib.util

    names = NEEDS.get(path.split(".")[0], "")
    return not names or any(
        importlib.util.find_spec(name.split(".")[0]) is not None for name in names.split("|")
    )


@pytest.mark.parametrize("compressor", COMPRESSORS)
@pytest.mark.parametrize("serializer", SERIALIZERS)
def test_any_serializer_and_compressor_gives_what_it_does_in_django_redis(
    url: str, serializer: str, compressor: str
) -> None:
    if not (importable(serializer) and importable(compressor)):
        go_without(f"the library of {serializer} or {compressor} is not installed")
    options = {
        "SERIALIZER": f"django_redis.serializers.{serializer}",
        "COMPRESSOR": f"django_redis.compressors.{compressor}",
    }
    try:
        cache, other = tiered(url, **options), plain(url, **options)
        other.set("k", 1)
    except ImportError as error:
        go_without(str(error))
    for value in (1, True, "text", "x" * 500, [1, {"a": "b" * 100}], (1, 2), None, 1.5):
        cache.set("k", value)
        settle(cache)
        expected = other.get("k")
        for _ in range(2):
            found = cache.get("k")
            assert (type(found), found) == (type(expected), expected)
        assert is_kept(cache, "k")
        assert cache.get_many(["k"]) == {"k": expected}
        assert cache.get_or_set("k", "other") == expected
        if isinstance(found, list):
            found.append("changed")
            assert cache.get("k") == expected


class Quoting:
    """A serializer of the site's own, which is no class of django-redis."""

    def dumps(self, value: Any) -> bytes:
        return repr(value).encode()

    def loads(self, value: bytes) -> Any:
        return ast.literal_eval(value.decode())


class QuotingClient(DefaultClient):
    """A client that has it without a word in the settings."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._serializer = Quoting()


def test_a_client_may_have_a_serializer_of_its_own(url: str) -> None:
    cache = tiered(url, CLIENT_CLASS=f"{__name__}.QuotingClient")
    keep(cache, {"k": [1, {"a": 2}]})
    for _ in range(2):
        assert cache.get("k") == [1, {"a": 2}]


class Unpicklable:
    """What pickle cannot take."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.lock = threading.Lock()


class OwnSerializer(BaseSerializer):
    """A serializer that makes objects that pickle cannot take."""

    def dumps(self, value: Any) -> bytes:
        text: str = value.text
        return text.encode()

    def loads(self, value: bytes) -> Unpicklable:
        return Unpicklable(value.decode())


OWN = {"SERIALIZER": f"{__name__}.OwnSerializer"}


def test_a_value_that_pickle_cannot_take_is_returned_and_not_kept(url: str) -> None:
    cache = tiered(url, **OWN)
    cache.set("k", Unpicklable("text"))
    settle(cache)
    for _ in range(2):
        assert cache.get("k").text == "text"
        assert cache.get_many(["k"])["k"].text == "text"
        assert not is_kept(cache, "k")
    assert cache.stats()["fills_refused"] == 4
    assert cache.tier.store._leases == {}


@pytest.mark.parametrize("mode", ["process", "fleet", "off"])
def test_get_or_set_returns_such_a_value_as_well(url: str, mode: str) -> None:
    cache = tiered(url, l1={**QUIET, "SINGLE_FLIGHT": mode}, **OWN)
    assert cache.get_or_set("k", Unpicklable("made")).text == "made"
    settle(cache)
    assert cache.get_or_set("k", Unpicklable("other")).text == "made"


def test_a_time_limit_of_celery_is_not_taken_for_that(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tiered(url)
    cache.set("k", [1])
    settle(cache)

    def end(*args: Any) -> None:
        raise SoftTimeLimitExceeded

    for name in ("redis_optimizer.cache.tier.freeze", "redis_optimizer.cache.loading.freeze"):
        with monkeypatch.context() as patched:
            patched.setattr(name, end)
            with pytest.raises(SoftTimeLimitExceeded):
                cache.get_or_set("k", "other")
        assert cache.tier.store._leases == {}
        cache.tier.store.clear()


def test_a_value_that_cannot_be_written_raises_as_in_django_redis(cache: TieredCache) -> None:
    keep(cache, {"k": 1})
    with pytest.raises(Exception, match="pickle"):
        cache.set("k", threading.Lock())
    assert cache.get("k") == 1


class Tracer(JSONSerializer):
    """A subclass of a known serializer."""

    def loads(self, value: bytes) -> Any:
        return ("traced", super().loads(value))


def test_a_serializer_that_changes_what_it_reads_is_asked_once(url: str) -> None:
    cache = tiered(url, SERIALIZER=f"{__name__}.Tracer")
    cache.set("k", {"a": 1})
    settle(cache)
    assert [cache.get("k") for _ in range(3)] == [("traced", {"a": 1})] * 3


@pytest.mark.parametrize("raw", [b"\x80\x05garbage", b"", b"not a pickle", b"1.5"])
def test_a_corrupt_value_raises_as_in_django_redis_and_is_not_kept(
    cache: TieredCache, url: str, admin: redis.Redis, raw: bytes
) -> None:
    admin.set("t:1:k", raw)
    cache.set("fine", 1)
    settle(cache)
    with pytest.raises(Exception) as expected:  # noqa: PT011 # whatever it is
        plain(url).get("k")
    for _ in range(2):
        for read in (
            lambda: cache.get("k"),
            lambda: cache.get_many(["fine", "k"]),
            lambda: cache.get_or_set("k", "made"),
        ):
            with pytest.raises(expected.type):
                read()
        assert not is_kept(cache, "k")
    assert cache.tier.store._leases == {}
    cache.set("k", "whole")
    assert cache.get("k") == "whole"


def test_a_key_of_another_type_raises_as_in_django_redis(cache: TieredCache, url: str) -> None:
    cache.sadd("k", 1)
    for read in ("get", "get_or_set"):
        arguments = ("k", 1)[: 2 if read == "get_or_set" else 1]
        with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
            getattr(cache, read)(*arguments)
    assert cache.get_many(["k"]) == plain(url).get_many(["k"]) == {}


def elsewhere(key: str, prefix: str, version: int) -> str:
    return f"elsewhere:{prefix}:{version}:{key}"


def test_keys_that_lie_outside_the_prefixes_are_read_and_never_kept(
    url: str, admin: redis.Redis
) -> None:
    cache = tiered(url, params={"KEY_FUNCTION": f"{__name__}.elsewhere"})
    cache.set("k", "old")
    for _ in range(2):
        assert cache.get("k") == "old"
        assert cache.get_many(["k"]) == {"k": "old"}
        assert cache.get("absent") is None
        assert not is_kept(cache, "k")
    cache.client.get_client().set("elsewhere:t:1:k", 5)
    assert cache.get("k") == 5


tenant = threading.local()


def of_a_tenant(key: str, prefix: str, version: int) -> str:
    return f"{prefix}:{getattr(tenant, 'name', 'nobody')}:{version}:{key}"


@pytest.mark.parametrize("make", [plain, tiered])
async def test_a_key_function_may_go_by_the_thread_that_django_keeps(make: Any, url: str) -> None:
    cache = await sync_to_async(make)(url, params={"KEY_FUNCTION": f"{__name__}.of_a_tenant"})
    enter = sync_to_async(lambda name: setattr(tenant, "name", name))
    for name in ("one", "two"):
        await enter(name)
        await cache.aset("k", name)
    for name in ("one", "two", "one"):
        await enter(name)
        for _ in range(2):
            assert await cache.aget("k") == name
            assert await cache.aget_many(["k"]) == {"k": name}
            assert await cache.aget_or_set("k", "other") == name
            assert await cache.ahas_key("k")
    await enter("three")
    assert not await cache.ahas_key("k")
    assert await cache.aget_or_set("k", "three") == "three"
    assert await sync_to_async(cache.get)("k") == "three"


@pytest.mark.filterwarnings("ignore:.*sharded client should not specify client:UserWarning")
@pytest.mark.parametrize("name", ["HerdClient", "ShardClient"])
def test_a_client_class_that_reads_in_its_own_way_runs_without_a_tier(
    url: str, admin: redis.Redis, name: str
) -> None:
    path = {"HerdClient": "herd.HerdClient", "ShardClient": "sharded.ShardClient"}[name]
    servers: Any = [url] if name == "ShardClient" else url
    params = {"KEY_PREFIX": "t", "OPTIONS": {"CLIENT_CLASS": f"django_redis.client.{path}"}}
    cache = TieredCache(servers, params)
    with pytest.raises(AttributeError, match="no in-process tier"):
        _ = cache.tier
    cache.set("k", 1)
    with counted(admin) as calls:
        assert [cache.get("k") for _ in range(20)] == [1] * 20
    assert calls == {"get": 20}
    assert cache.get_or_set("k", 2) == 1
    assert cache.get_many(["k"]) == {"k": 1}
    assert cache.delete("k")
    assert cache.stats() == {}
    assert channels(admin) == []


@pytest.mark.parametrize(
    ("l1", "named"),
    [
        ({"MAX_AGES": 1}, "MAX_AGES"),
        ({"MAX_AGE": -1}, "MAX_AGE"),
        ({"HEARTBEAT": 6}, "MAX_STALENESS"),
        ({"PREFIXES": "t:"}, "PREFIXES"),
        ({"SINGLE_FLIGHT": "thread"}, "SINGLE_FLIGHT"),
        (["ENABLED"], "L1"),
    ],
    ids=repr,
)
def test_a_wrong_option_is_named(url: str, l1: Any, named: str) -> None:
    backend = "redis_optimizer.cache.TieredCache"
    settings = {"BACKEND": backend, "LOCATION": url, "OPTIONS": {"L1": l1}}
    with (
        override_settings(CACHES={"default": settings}),
        pytest.raises(ImproperlyConfigured, match=named),
    ):
        caches["default"].get("k")


DEAD = f"redis://{HOST}:{{}}/0"


def calls_of(cache: Any) -> list[Any]:
    return [
        lambda: cache.get("k", "default"),
        lambda: cache.get_many(["k"]),
        lambda: cache.has_key("k"),
        lambda: cache.set("k", 1),
        lambda: cache.add("k", 1),
        lambda: cache.delete("k"),
        lambda: cache.delete_many(["k"]),
        lambda: cache.incr("k"),
        lambda: cache.touch("k"),
        lambda: cache.get_or_set("k", "made"),
        lambda: cache.clear(),
        lambda: cache.incr_version("k"),
    ]


@pytest.mark.parametrize("mode", ["process", "fleet", "off"])
def test_a_dead_server_raises_what_it_does_in_django_redis(mode: str) -> None:
    url = DEAD.format(free_port())
    no_retry = {"CONNECTION_POOL_KWARGS": {"retry": None}}
    cache = tiered(url, ready=False, l1={**QUIET, "SINGLE_FLIGHT": mode}, **no_retry)
    for ours, theirs in zip(calls_of(cache), calls_of(plain(url, **no_retry)), strict=True):
        with pytest.raises(redis.RedisError) as expected:
            theirs()
        with pytest.raises(redis.RedisError) as raised:
            ours()
        assert raised.type is expected.type
    assert not cache.tier.ready
    assert cache.tier.store._leases == {}


@pytest.mark.parametrize("mode", ["process", "fleet", "off"])
def test_a_dead_server_is_ignored_where_django_redis_ignores_it(mode: str) -> None:
    url = DEAD.format(free_port())
    options = {"CONNECTION_POOL_KWARGS": {"retry": None}, "IGNORE_EXCEPTIONS": True}
    cache = tiered(url, ready=False, l1={**QUIET, "SINGLE_FLIGHT": mode}, **options)
    ours = [outcome(call) for call in calls_of(cache)]
    # Some of its methods do not ignore it either.
    assert ours == [outcome(call) for call in calls_of(plain(url, **options))]
    assert cache.set_many({"a": 1, "b": 2}) == ["a", "b"]
    assert cache.get_or_set("k", lambda: {"a": 1}) == {"a": 1}


async def test_coroutines_raise_the_same() -> None:
    url = DEAD.format(free_port())
    cache = tiered(url, ready=False, CONNECTION_POOL_KWARGS={"retry": None})
    for coroutine in (
        cache.aget("k"),
        cache.aget_many(["k"]),
        cache.aset("k", 1),
        cache.aget_or_set("k", 1),
        cache.ahas_key("k"),
    ):
        with pytest.raises(redis.ConnectionError):
            await coroutine


def test_nothing_is_logged_above_debug_while_the_server_is_dead(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG, "redis_optimizer")
    cache = tiered(DEAD.format(free_port()), ready=False, CONNECTION_POOL_KWARGS={"retry": None})
    cache.tier.start()
    wait_until(lambda: len(caplog.records) >= 2)
    assert {record.levelname for record in caplog.records} == {"DEBUG"}
    assert cache.tier.channel.last_error.startswith("ConnectionError")
