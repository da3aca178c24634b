"""Cache classes that a site derives from TieredCache."""

import asyncio
from typing import Any
from unittest import mock

import pytest
from django_redis.cache import RedisCache

from redis_optimizer.cache import TieredCache

from .caches import QUIET, plain, settle


class Shouting(TieredCache):
    def make_key(self, key: Any, version: Any = None) -> str:
        return super().make_key(key.upper(), version)


def test_a_subclass_may_make_keys_of_its_own(url: str) -> None:
    params = {"KEY_PREFIX": "t", "OPTIONS": {"L1": QUIET}}
    cache = Shouting(url, params)
    assert cache.tier.wait_ready(5)
    cache.set("k", 1)
    assert [cache.get("k") for _ in range(3)] == [plain(url).get("k")] * 3


class Tenants(RedisCache[Any]):
    """Has keys for each tenant."""

    tenant = "one"

    @property
    def key_prefix(self) -> str:
        return f"t:{self.tenant}"

    @key_prefix.setter
    def key_prefix(self, given: str) -> None:
        pass


class Tiered(Tenants, TieredCache):
    pass


def test_what_keys_are_made_of_may_be_a_property(url: str) -> None:
    params = {"KEY_PREFIX": "t", "OPTIONS": {"L1": QUIET}}
    cache, remote = Tiered(url, params), Tenants(url, params)
    assert cache.tier.wait_ready(5)
    for tenant in ("one", "two"):
        cache.tenant = remote.tenant = tenant
        cache.set("k", tenant)
        assert remote.get("k") == tenant
    settle(cache)
    for tenant in ("one", "two", "one"):
        cache.tenant = tenant
        assert [cache.get("k") for _ in range(2)] == [tenant] * 2
        assert cache.get_many(["k"]) == {"k": tenant}
        assert cache.get_or_set("k", "other") == tenant


def test_a_thousand_tenants_are_no_prefixes_to_look_through(url: str) -> None:
    params = {"KEY_PREFIX": "t", "OPTIONS": {"L1": QUIET}}
    cache = Tiered(url, params)
    before = dict(cache.tier.store._index._under)
    for number in range(1000):
        with mock.patch.object(Tenants, "tenant", str(number)):
            Tiered(url, params)
    assert cache.tier.store._index._under == before


class Own(RedisCache[Any]):
    """A cache class that a site had before."""

    asked = 0

    @property
    def client(self) -> Any:
        self.asked += 1
        return super().client

    def validate_key(self, key: str) -> None:
        if "secret" in key:
            raise ValueError(key)
        super().validate_key(key)


class Before(Own, TieredCache):
    pass


class Behind(TieredCache, Own):
    pass


@pytest.mark.parametrize("kind", [Before, Behind])
def test_a_subclass_may_have_a_client_property_of_its_own(url: str, kind: Any) -> None:
    cache = kind(url, {"KEY_PREFIX": "t", "OPTIONS": {"L1": QUIET}})
    asked = cache.asked
    assert cache.client is cache.client
    assert cache.asked == asked + 2
    cache.set("k", 1)
    assert cache.asked > asked + 2
    assert cache.get("k") == plain(url).get("k") == 1


@pytest.mark.parametrize("kind", [Before, Behind])
def test_a_subclass_may_refuse_keys(url: str, kind: Any) -> None:
    cache = kind(url, {"KEY_PREFIX": "t", "OPTIONS": {"L1": QUIET}})
    for call in (
        lambda: cache.get("secret"),
        lambda: cache.get_many(["secret"]),
        lambda: cache.set("secret", 1),
        lambda: cache.set("secret", 1, version=2),
        lambda: cache.set_many({"secret": 1}),
        lambda: cache.delete("secret"),
    ):
        with pytest.raises(ValueError, match="secret"):
            call()
    assert plain(url).get("secret") is None


class Reversing(TieredCache):
    """Stores text from its end to its begin."""

    def get(self, key: Any, default: Any = None, version: Any = None, client: Any = None) -> Any:
        found = super().get(key, None, version, client)
        return default if found is None else found[::-1]

    def add(self, key: Any, value: Any, *args: Any, **kwargs: Any) -> bool:
        return bool(super().add(key, value[::-1], *args, **kwargs))

    def get_many(self, *args: Any, **kwargs: Any) -> dict[Any, Any]:
        return {key: value[::-1] for key, value in super().get_many(*args, **kwargs).items()}

    def has_key(self, key: Any, *args: Any, **kwargs: Any) -> bool:
        return key != "hidden" and super().has_key(key, *args, **kwargs)


def test_what_reads_goes_by_the_methods_of_a_subclass(url: str) -> None:
    cache = Reversing(url, {"KEY_PREFIX": "t", "OPTIONS": {"L1": QUIET}})
    assert cache.tier.wait_ready(60)
    cache.add("k", "abc")
    plain(url).set("hidden", "abc")
    assert plain(url).get("k") == "cba"
    settle(cache)
    for _ in range(2):
        assert cache.get("k") == "abc"
        assert cache.get_or_set("k", "other") == "abc"
        assert asyncio.run(cache.aget("k")) == "abc"
        assert asyncio.run(cache.aget("none", "default")) == "default"
        assert asyncio.run(cache.aget_or_set("k", "other")) == "abc"
        assert asyncio.run(cache.aget_many(["k"])) == {"k": "abc"}
        assert not asyncio.run(cache.ahas_key("hidden"))
    assert cache.get_or_set("new", lambda: "xyz") == cache.get("new") == "xyz"
    assert asyncio.run(cache.aget_or_set("newer", lambda: "xyz")) == cache.get("newer") == "xyz"
    assert plain(url).get_many(["new", "newer"]) == {"new": "zyx", "newer": "zyx"}
