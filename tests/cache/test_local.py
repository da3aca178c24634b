"""LocalCache: Django's cache contract, kept in the memory of one process."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import pytest
from django.utils.safestring import SafeString, mark_safe

from redis_optimizer.cache import LocalCache
from tests.core.stores import Clock

DAY = 24 * 60 * 60


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def make(request: pytest.FixtureRequest, clock: Clock) -> Callable[..., LocalCache]:
    """Return a maker of caches that share what this test keeps, and its clock."""

    def make(name: str = "", **params: Any) -> LocalCache:
        made = LocalCache(f"{request.node.nodeid}{name}", params)
        made._store.now = clock
        return made

    return make


@pytest.fixture
def local(make: Callable[..., LocalCache]) -> LocalCache:
    return make()


class TestGetAndSet:
    def test_what_was_set_is_returned(self, local: LocalCache) -> None:
        local.set("key", "value")
        assert local.get("key") == "value"

    @pytest.mark.parametrize(
        "value",
        [None, 0, "", b"\0", 2**70, 1.5, [], {}, {"a": [1, {2}]}, (1, [2]), frozenset({1}), True],
        ids=repr,
    )
    def test_any_value_comes_back_as_it_was(self, local: LocalCache, value: object) -> None:
        local.set("key", value)
        assert local.get("key", "default") == value
        assert type(local.get("key", "default")) is type(value)
        assert "key" in local

    def test_a_safe_string_stays_safe(self, local: LocalCache) -> None:
        local.set("key", mark_safe("<b>"))
        assert type(local.get("key")) is SafeString

    def test_a_key_that_is_absent_gives_the_default(self, local: LocalCache) -> None:
        assert local.get("absent") is None
        assert local.get("absent", "default") == "default"
        assert local.get("absent", default=[]) == []

    def test_a_key_may_be_anything_that_has_a_text(self, local: LocalCache) -> None:
        local.set(5, "five")
        assert local.get("5") == "five"
        local.set("schlüssel", "ä")
        assert local.get("schlüssel") == "ä"

    def test_no_caller_can_change_what_is_kept(self, local: LocalCache) -> None:
        value = {"list": [1]}
        local.set("key", value)
        value["list"].append(2)
        local.get("key")["list"].append(3)
        assert local.get("key") == {"list": [1]}

    @pytest.mark.parametrize("write", [LocalCache.set, LocalCache.add])
    def test_a_value_that_cannot_be_pickled_is_an_error(
        self, local: LocalCache, write: Callable[..., object]
    ) -> None:
        with pytest.raises((pickle.PicklingError, AttributeError, TypeError)):
            write(local, "key", [lambda: None])
        assert "key" not in local

    def test_a_failed_set_leaves_the_old_value(self, local: LocalCache) -> None:
        local.set("key", "old")
        with pytest.raises((pickle.PicklingError, AttributeError, TypeError)):
            local.set("key", [lambda: None])
        assert local.get("key") == "old"


class TestAdd:
    def test_adds_what_is_absent(self, local: LocalCache) -> None:
        assert local.add("key", "first") is True
        assert local.add("key", "second") is False
        assert local.get("key") == "first"

    def test_none_is_a_value(self, local: LocalCache) -> None:
        local.set("key", None)
        assert local.add("key", "second") is False

    def test_adds_what_expired_or_was_removed(self, local: LocalCache, clock: Clock) -> None:
        local.set("expired", 1, 10)
        local.set("deleted", 1)
        local.delete("deleted")
        clock.advance(10)
        assert local.add("expired", 2)
        assert local.add("deleted", 2)
        local.clear()
        assert local.add("deleted", 3)
        assert local.get("deleted") == 3

    def test_says_so_when_the_value_is_too_large_to_keep(
        self, make: Callable[..., LocalCache]
    ) -> None:
        local = make(OPTIONS={"MAX_BYTES": 8_000})
        assert local.add("key", "x" * 1_000) is False
        assert local.get("key") is None


class TestTimeout:
    def test_the_default_is_five_minutes(self, local: LocalCache, clock: Clock) -> None:
        local.set("key", "value")
        clock.advance(299)
        assert local.get("key") == "value"
        clock.advance(1)
        assert local.get("key") is None
        assert "key" not in local

    def test_the_default_can_be_set(self, make: Callable[..., LocalCache], clock: Clock) -> None:
        short, eternal = make(TIMEOUT=10), make("eternal", TIMEOUT=None)
        short.set("key", "value")
        eternal.set("key", "value")
        clock.advance(10)
        assert short.get("key") is None
        clock.advance(1000 * DAY)
        assert eternal.get("key") == "value"

    @pytest.mark.parametrize("write", ["set", "add", "touch", "set_many", "get_or_set"])
    def test_none_is_for_ever(self, local: LocalCache, clock: Clock, write: str) -> None:
        self.write(local, write, None)
        clock.advance(1000 * DAY)
        assert local.get("key") == "value"

    @pytest.mark.parametrize("timeout", [0, -1, -0.5])
    @pytest.mark.parametrize("write", ["set", "add", "touch", "set_many"])
    def test_zero_and_less_is_not_at_all(
        self, local: LocalCache, write: str, timeout: float
    ) -> None:
        self.write(local, write, timeout)
        assert local.get("key") is None
        assert "key" not in local
        assert local.add("key", "new")

    def test_zero_removes_what_was_there(self, local: LocalCache) -> None:
        local.set("key", "old")
        local.set("key", "new", 0)
        assert local.get("key") is None

    def test_a_timeout_may_be_long_or_broken(self, local: LocalCache, clock: Clock) -> None:
        local.set("long", 1, 60 * DAY)
        local.set("broken", 1, 1.5)
        clock.advance(1.4)
        assert local.get_many(["long", "broken"]) == {"long": 1, "broken": 1}
        clock.advance(0.2)
        assert local.get_many(["long", "broken"]) == {"long": 1}

    @staticmethod
    def write(local: LocalCache, how: str, timeout: float | None) -> None:
        if how == "touch":
            local.set("key", "value")
            assert local.touch("key", timeout) is True
        elif how == "set_many":
            assert local.set_many({"key": "value"}, timeout) == []
        else:
            getattr(local, how)("key", "value", timeout)


class TestTouch:
    def test_gives_a_new_timeout(self, local: LocalCache, clock: Clock) -> None:
        local.set("key", "value", 10)
        assert local.touch("key", 20) is True
        clock.advance(19)
        assert local.get("key") == "value"
        clock.advance(1)
        assert local.get("key") is None

    def test_gives_the_default_when_none_is_named(self, local: LocalCache, clock: Clock) -> None:
        local.set("key", "value", None)
        local.touch("key")
        clock.advance(300)
        assert local.get("key") is None

    def test_a_key_that_is_not_there_stays_away(self, local: LocalCache, clock: Clock) -> None:
        assert local.touch("absent") is False
        local.set("key", "value", 10)
        clock.advance(10)
        assert local.touch("key") is False
        assert local.get("key") is None


class TestCounting:
    def test_incr_and_decr(self, local: LocalCache) -> None:
        local.set("key", 41)
        assert local.incr("key") == 42
        assert local.incr("key", 10) == 52
        assert local.decr("key") == 51
        assert local.decr("key", 51) == 0
        assert local.incr("key", -5) == -5
        assert local.get("key") == -5

    @pytest.mark.parametrize("count", [LocalCache.incr, LocalCache.decr])
    def test_a_key_that_is_not_there_is_an_error(
        self, local: LocalCache, clock: Clock, count: Callable[..., int]
    ) -> None:
        with pytest.raises(ValueError, match="absent"):
            count(local, "absent")
        local.set("key", 1, 10)
        clock.advance(10)
        with pytest.raises(ValueError, match="key"):
            count(local, "key")
        assert "key" not in local

    def test_what_is_no_number_is_an_error(self, local: LocalCache) -> None:
        local.set("key", "text")
        with pytest.raises(TypeError):
            local.incr("key")
        assert local.get("key") == "text"

    def test_the_timeout_stays(self, local: LocalCache, clock: Clock) -> None:
        local.set("key", 1, 10)
        clock.advance(9)
        local.incr("key")
        assert local.get("key") == 2
        clock.advance(1)
        assert local.get("key") is None


class TestDelete:
    def test_tells_whether_the_key_was_there(self, local: LocalCache, clock: Clock) -> None:
        local.set("key", "value")
        assert local.delete("key") is True
        assert local.delete("key") is False
        assert local.get("key") is None
        local.set("key", "value", 10)
        clock.advance(10)
        assert local.delete("key") is False

    def test_clear_deletes_everything(self, local: LocalCache) -> None:
        local.set_many({"a": 1, "b": 2})
        local.clear()
        assert local.get_many(["a", "b"]) == {}
        assert "a" not in local
        assert local.delete("a") is False
        assert local.touch("a") is False
        with pytest.raises(ValueError, match="a"):
            local.incr("a")

    def test_close_deletes_nothing(self, local: LocalCache) -> None:
        local.set("key", "value")
        local.close()
        assert local.get("key") == "value"


class TestMany:
    def test_get_set_and_delete(self, local: LocalCache) -> None:
        assert local.set_many({"a": 1, "b": None, "c": [3]}) == []
        assert local.get_many(["a", "b", "c", "d"]) == {"a": 1, "b": None, "c": [3]}
        local.delete_many(["a", "c", "d"])
        assert local.get_many(["a", "b", "c"]) == {"b": None}

    def test_any_iterable_will_do(self, local: LocalCache) -> None:
        local.set_many({"a": 1, "b": 2})
        assert local.get_many(key for key in "ab") == {"a": 1, "b": 2}
        local.delete_many(key for key in "ab")
        assert local.get_many({"a", "b"}) == {}

    def test_nothing_is_nothing(self, local: LocalCache) -> None:
        assert local.set_many({}) == []
        assert local.get_many([]) == {}
        local.delete_many([])

    def test_get_or_set(self, local: LocalCache) -> None:
        assert local.get_or_set("key", "value") == "value"
        assert local.get_or_set("key", "other") == "value"
        assert local.get_or_set("call", lambda: [1]) == [1]
        assert local.get_or_set("call", lambda: 1 / 0) == [1]
        assert local.get_or_set("none", lambda: None) is None
        assert local.get_or_set("none", lambda: 1 / 0) is None

    def test_an_error_of_the_default_leaves_nothing(self, local: LocalCache) -> None:
        with pytest.raises(ZeroDivisionError):
            local.get_or_set("key", lambda: 1 / 0)
        assert "key" not in local
