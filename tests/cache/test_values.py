"""Serializers and compressors: the process returns what Redis would, and to each its own copy."""

import asyncio
from typing import Any

import pytest
import redis
from django_redis.serializers.base import BaseSerializer

from redis_optimizer.cache import TieredCache

from .caches import PREFIX, counted, is_kept, keep, plain, settle, tiered

SERIALIZERS = "django_redis.serializers"
COMPRESSORS = "django_redis.compressors"
VALUE = {"name": "n" * 200, "list": [1, 2.5, None, True], "nested": {"k": ["v"]}}


class LockMaker(BaseSerializer):
    """Makes what pickle cannot take."""

    def dumps(self, value: Any) -> bytes:
        return b"lock"

    def loads(self, value: bytes) -> Any:
        import threading

        return threading.Lock()


@pytest.mark.parametrize(
    "serializer", ["pickle.PickleSerializer", "json.JSONSerializer", "msgpack.MSGPackSerializer"]
)
@pytest.mark.parametrize(
    "compressor",
    [
        "identity.IdentityCompressor",
        "zlib.ZlibCompressor",
        "lzma.LzmaCompressor",
        "lz4.Lz4Compressor",
        "gzip.GzipCompressor",
    ],
)
@pytest.mark.parametrize("value", [VALUE, "text", 7, "7", None, 2.5, True, ("a", ["b"])], ids=repr)
def test_a_hit_equals_what_django_redis_reads(
    url: str, serializer: str, compressor: str, value: Any
) -> None:
    options = {
        "SERIALIZER": f"{SERIALIZERS}.{serializer}",
        "COMPRESSOR": f"{COMPRESSORS}.{compressor}",
    }
    cache, theirs = tiered(url, **options), plain(url, **options)
    keep(cache, {"k": value})
    expected = theirs.get("k")
    for _ in range(2):
        got = cache.get("k")
        assert (got, type(got)) == (expected, type(expected))
        if isinstance(got, dict):  # what one caller does to his copy is nobody else's
            got["list"].append("mine")


def test_a_loaded_value_is_what_a_later_reader_gets(url: str) -> None:
    cache = tiered(url, SERIALIZER=f"{SERIALIZERS}.json.JSONSerializer")
    assert cache.get_or_set("k", lambda: (1, 2)) == [1, 2]
    assert cache.get("k") == [1, 2]


def test_what_pickle_cannot_take_is_returned_and_not_kept(url: str) -> None:
    cache = tiered(url, SERIALIZER=f"{__name__}.LockMaker")
    cache.set("k", "any")
    settle(cache)
    for _ in range(2):
        assert type(cache.get("k")).__name__ == "lock"
        assert not is_kept(cache, "k")
    assert cache.stats()["fills_refused"] == 2
    assert type(cache.get_or_set("k", "made")).__name__ == "lock"


def test_what_cannot_be_pickled_is_an_error_and_changes_nothing(cache: TieredCache) -> None:
    keep(cache, {"k": 1})
    with pytest.raises(Exception, match="pickle"):
        cache.set("k", lambda: 1)
    assert cache.get("k") == 1


@pytest.mark.parametrize("read", ["get", "get_many"])
def test_a_corrupt_value_is_the_error_of_django_redis_and_not_kept(
    cache: TieredCache, url: str, admin: redis.Redis, read: str
) -> None:
    admin.set(f"{PREFIX}:1:k", "no pickle")
    argument: Any = ["k"] if read == "get_many" else "k"
    with pytest.raises(Exception) as theirs:  # noqa: PT011 # whichever it is
        getattr(plain(url), read)(argument)
    for _ in range(2):
        with pytest.raises(theirs.type):
            getattr(cache, read)(argument)
        assert not is_kept(cache, "k")
    cache.set("k", 1)
    settle(cache)
    assert cache.get("k") == 1
    assert is_kept(cache, "k")


def test_a_key_of_another_type_is_there_though_get_many_does_not_find_it(
    cache: TieredCache, admin: redis.Redis
) -> None:
    cache.sadd("k", "member")
    settle(cache)
    with counted(admin) as calls:
        for _ in range(2):
            assert cache.get_many(["k", "absent"]) == {}
            assert (cache.has_key("k"), "k" in cache) == (True, True)
            assert (cache.has_key("absent"), asyncio.run(cache.ahas_key("k"))) == (False, True)
    assert calls == {"mget": 1, "exists": 8}
    assert cache.stats()["commands_avoided"] == 1  # the second get_many


def test_a_key_of_another_type_is_the_error_of_django_redis(
    cache: TieredCache, url: str, admin: redis.Redis
) -> None:
    admin.hset(f"{PREFIX}:1:k", "field", "value")
    for reader in (plain(url), cache, cache):
        with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
            reader.get("k")
