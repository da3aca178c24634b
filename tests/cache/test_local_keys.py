"""LocalCache: its keys and versions, its bounds, and its place in the settings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.core.cache import CacheKeyWarning, cache, caches
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from redis_optimizer.cache import LocalCache


@pytest.fixture
def make(request: pytest.FixtureRequest) -> Callable[..., LocalCache]:
    """Return a maker of caches that share what this test keeps."""

    def make(name: str = "", **params: Any) -> LocalCache:
        return LocalCache(f"{request.node.nodeid}{name}", params)

    return make


@pytest.fixture
def local(make: Callable[..., LocalCache]) -> LocalCache:
    return make()


class TestVersions:
    def test_each_is_a_key_of_its_own(self, local: LocalCache) -> None:
        local.set("key", "one")
        local.set("key", "two", version=2)
        assert local.get("key") == "one"
        assert local.get("key", version=2) == "two"
        assert local.has_key("key", version=2)
        assert local.delete("key", version=2)
        assert local.get("key") == "one"
        assert local.add("key", "new", version=2)
        assert local.touch("key", version=3) is False

    def test_the_default_can_be_set(self, make: Callable[..., LocalCache]) -> None:
        first, second = make(), make(VERSION=2)
        first.set("key", "value", version=2)
        assert second.get("key") == "value"
        second.set("number", 1)
        assert first.incr("number", version=2) == 2

    def test_a_key_moves_up_and_down(self, local: LocalCache) -> None:
        local.set("key", "value")
        assert local.incr_version("key") == 2
        assert local.get("key") is None
        assert local.get("key", version=2) == "value"
        assert local.incr_version("key", 3, version=2) == 5
        assert local.decr_version("key", version=5) == 4
        assert local.get("key", version=4) == "value"

    @pytest.mark.parametrize("move", [LocalCache.incr_version, LocalCache.decr_version])
    def test_a_key_that_is_not_there_cannot_move(
        self, local: LocalCache, move: Callable[..., int]
    ) -> None:
        with pytest.raises(ValueError, match="absent"):
            move(local, "absent")

    def test_many_at_once(self, local: LocalCache) -> None:
        local.set_many({"a": 1}, version=2)
        assert local.get_many(["a"]) == {}
        assert local.get_many(["a"], version=2) == {"a": 1}
        local.delete_many(["a"], version=2)
        assert local.get_or_set("a", 5, version=2) == 5
        assert "a" not in local


def shouted_key(key: object, prefix: str, version: int) -> str:
    return f"{prefix}!{version}!{key}!"


class TestKeys:
    def test_caches_of_one_name_share_what_they_keep(self, make: Callable[..., LocalCache]) -> None:
        make().set("key", "value")
        assert make().get("key") == "value"
        assert make("other").get("key") is None

    def test_a_prefix_keeps_them_apart(self, make: Callable[..., LocalCache]) -> None:
        make(KEY_PREFIX="a").set("key", "a")
        assert make(KEY_PREFIX="b").get("key") is None
        assert make(KEY_PREFIX="a").get("key") == "a"

    @pytest.mark.parametrize("function", [shouted_key, f"{__name__}.shouted_key"])
    def test_a_key_function_makes_the_key(
        self, make: Callable[..., LocalCache], function: object
    ) -> None:
        local = make(KEY_FUNCTION=function, KEY_PREFIX="p")
        local.set("key", "value")
        assert local.get("key") == "value"
        assert "p!1!key!" in local._store.entries

    @pytest.mark.parametrize("key", ["key with spaces", "k" * 251, "tab\t"])
    @pytest.mark.parametrize(
        "call",
        [
            lambda local, key: local.get(key),
            lambda local, key: local.set(key, 1),
            lambda local, key: local.add(key, 1),
            lambda local, key: local.touch(key),
            lambda local, key: local.delete(key),
            lambda local, key: local.has_key(key),
            lambda local, key: local.get_many([key]),
            lambda local, key: local.set_many({key: 1}),
            lambda local, key: local.delete_many([key]),
        ],
    )
    def test_one_that_memcached_would_refuse_is_warned_of(
        self, local: LocalCache, key: str, call: Callable[..., object]
    ) -> None:
        with pytest.warns(CacheKeyWarning):
            call(local, key)

    def test_it_works_all_the_same(self, local: LocalCache) -> None:
        with pytest.warns(CacheKeyWarning):
            local.set("key with spaces", 1)
        with pytest.warns(CacheKeyWarning):
            assert local.get("key with spaces") == 1


class TestBounds:
    def test_entries_go_one_at_a_time(self, make: Callable[..., LocalCache]) -> None:
        local = make(OPTIONS={"MAX_ENTRIES": 30})
        for n in range(100):
            local.set(str(n), n)
            assert local.get(str(n)) == n
            held = sum(str(k) in local for k in range(100))
            assert held == min(n + 1, 30)

    def test_what_is_read_stays(self, make: Callable[..., LocalCache]) -> None:
        local = make(OPTIONS={"MAX_ENTRIES": 30})
        local.set("read", "value")
        for n in range(200):
            local.set(str(n), n)
            assert local.get("read") == "value"

    def test_bytes_are_bound_as_well(self, make: Callable[..., LocalCache]) -> None:
        local = make(OPTIONS={"MAX_BYTES": 100_000})
        for n in range(100):
            local.set(str(n), ["x" * 5_000])
        assert 15 <= sum(str(n) in local for n in range(100)) <= 20

    def test_by_default_ten_thousand_entries(self, local: LocalCache) -> None:
        assert (local._store.max_entries, local._store.max_bytes) == (10_000, 64 * 1024**2)

    @pytest.mark.parametrize("name", ["MAX_ENTRIES", "MAX_BYTES"])
    @pytest.mark.parametrize("value", [0, -1, 1.5, "100", None, True])
    def test_a_wrong_one_is_refused_by_name(
        self, make: Callable[..., LocalCache], name: str, value: object
    ) -> None:
        with pytest.raises(ImproperlyConfigured) as caught:
            make(OPTIONS={name: value})
        message = f'OPTIONS["{name}"] must be a whole number, 1 or more, not {value!r}.'
        assert str(caught.value) == message

    @pytest.mark.parametrize("name", ["MAX_ENTRY", "max_entries", "L1"])
    def test_an_option_that_does_not_exist_is_named(
        self, make: Callable[..., LocalCache], name: str
    ) -> None:
        with pytest.raises(ImproperlyConfigured, match=f"no option '{name}'.*MAX_ENTRIES"):
            make(OPTIONS={name: 1})

    def test_the_option_of_a_cache_that_culls_may_stay(
        self, make: Callable[..., LocalCache]
    ) -> None:
        make(OPTIONS={"CULL_FREQUENCY": 3})


LOCAL = {"BACKEND": "redis_optimizer.cache.LocalCache", "LOCATION": "test_local"}


class TestInSettings:
    def test_django_finds_it(self) -> None:
        with override_settings(CACHES={"default": LOCAL}):
            cache.set("key", "value")
            assert isinstance(caches["default"], LocalCache)
            assert caches["default"].get("key") == "value"

    def test_new_settings_begin_with_an_empty_cache_and_bounds_of_their_own(self) -> None:
        with override_settings(CACHES={"default": LOCAL}):
            cache.set("key", "value")
        small = {**LOCAL, "OPTIONS": {"MAX_ENTRIES": 2}}
        with override_settings(CACHES={"default": small}):
            assert cache.get("key") is None
            for n in range(5):
                cache.set(str(n), n)
            assert sum(str(n) in cache for n in range(5)) == 2
