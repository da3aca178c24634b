"""The key of a call: the same in each process, another for each set of arguments."""

from __future__ import annotations

import enum
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta, tzinfo
from decimal import Decimal
from functools import partial
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from django.contrib.auth import get_user_model
from django.utils.functional import SimpleLazyObject
from django.utils.safestring import mark_safe

from redis_optimizer.decorators.arguments import LONGEST, CallKey


class Colour(enum.Enum):
    RED = 1


class Number(enum.IntEnum):
    ONE = 1


def plain(a: Any = None, *more: Any, b: Any = 2, **others: Any) -> None: ...


def key_of(*args: Any, key: Any = None, vary: Any = None, **kwargs: Any) -> str:
    return CallKey(plain, "mod.plain", key, vary)(args, kwargs)


class TestDefault:
    def test_it_can_be_read(self) -> None:
        assert key_of(5, b="x") == "cached:mod.plain(a=5,more=(),b='x',others=())"

    def test_the_way_in_which_arguments_are_passed_does_not_matter(self) -> None:
        assert key_of(1, b=3) == key_of(b=3, a=1)
        assert key_of(1) == key_of(1, b=2)
        assert key_of(y=1, x=2) == key_of(x=2, y=1)
        assert key_of(frozenset({"a", "b", "c"})) == key_of(frozenset({"c", "b", "a"}))

    def test_different_arguments_have_different_keys(self) -> None:
        now = datetime(2026, 1, 1, tzinfo=UTC)
        values = [
            None, "None", 1, True, 1.0, Decimal(1), "1", b"1", Number.ONE, Colour.RED,
            (), (1,), ((1,),), (1, 2), (1, (2,)), ("1,", "2"), ("1", ",2"), frozenset({1}),
            now, now.replace(tzinfo=None), now.replace(tzinfo=ZoneInfo("Europe/Berlin")),
            now.date(), now.time(), timedelta(1), UUID(int=1), int, str, "ü", "\x00", " ",
            "a=1", "a)", get_user_model()(pk=1), get_user_model()(pk=2), "x" * 500, "x" * 501,
        ]  # fmt: skip
        keys = {key_of(value) for value in values}
        assert len(keys) == len(values)
        assert key_of(1, 2) != key_of(1, b=2) != key_of(1, more=2)

    def test_so_has_what_is_bound_to_other_arguments(self) -> None:
        ann, bob = get_user_model()(pk=1), get_user_model()(pk=2)
        bound: list[Any] = [plain, partial(plain, 1), partial(plain, 2), partial(plain, b=1)]
        bound += [partial(partial(plain, 1), 2), ann.get_username, bob.get_username]
        bound += [partial(one.check_password, "x") for one in (ann, bob)]
        assert len({CallKey(one, "f", None, None)((), {}) for one in bound}) == len(bound)
        key = CallKey(partial(plain, "EUR"), "mod.plain", None, None)((), {"b": 3})
        assert key == "cached:mod.plain('EUR',)(more=(),b=3,others=())"

    def test_what_is_bound_to_something_nameless_needs_a_key(self) -> None:
        class Shop:
            def total(self) -> None: ...

            def __call__(self) -> None: ...

        for one in (Shop().total, Shop(), partial(Shop().total), partial(plain, object())):
            with pytest.raises(TypeError, match=r"mod\.f cannot be cached by its argument self"):
                CallKey(one, "mod.f", None, None)((), {})
            assert CallKey(one, "mod.f", "total", None)((), {}) == "total"

    def test_what_is_the_same_has_the_same(self) -> None:
        user = get_user_model()(pk=1)
        assert key_of(user) == key_of(SimpleLazyObject(lambda: get_user_model()(pk=1)))
        assert key_of("a") == key_of(mark_safe("a"))

    def test_every_cache_takes_it(self) -> None:
        for value in ("x" * 10_000, "with space", "line\nbreak", "ü", "\udcff", ("a", "b c")):
            key = key_of(value)
            assert len(key) <= LONGEST
            assert key.isascii()
            assert key.isprintable()
            assert " " not in key

    def test_it_is_the_same_in_another_process(self) -> None:
        program = (
            "from datetime import date; from uuid import UUID\n"
            "from redis_optimizer.decorators.arguments import CallKey\n"
            "def plain(a=None, *more, b=2, **others): pass\n"
            "print(CallKey(plain, 'mod.plain', None, None)\n"
            "((('x' * 300, frozenset('abc'), date(2026, 1, 1), UUID(int=1)),), {'z': 1}))"
        )
        out = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True
        ).stdout
        value = ("x" * 300, frozenset("abc"), date(2026, 1, 1), UUID(int=1))
        assert out.strip() == key_of(value, z=1)

    @pytest.mark.parametrize(
        "value", [[1], {"a": 1}, {1}, object(), ([1],), lambda: 1, iter(()), bytearray(b"1")]
    )
    def test_an_argument_without_a_stable_form_is_named(self, value: Any) -> None:
        with pytest.raises(TypeError, match=r"mod.plain cannot be cached by its argument b"):
            key_of(b=value)

    def test_nor_has_a_time_in_a_zone_that_nobody_knows(self) -> None:
        class Zone(tzinfo):
            pass

        with pytest.raises(TypeError, match="its argument a: datetime"):
            key_of(datetime(2026, 1, 1, tzinfo=Zone()))

    def test_nor_a_model_instance_that_is_not_saved(self) -> None:
        with pytest.raises(TypeError, match="its argument a: User"):
            key_of(get_user_model()())

    def test_arguments_that_do_not_fit_are_an_error_as_in_a_call(self) -> None:
        with pytest.raises(TypeError, match="missing a required argument: 'a'"):
            CallKey(lambda a: a, "f", None, None)((), {})


class TestGiven:
    def test_a_template_names_arguments(self) -> None:
        assert key_of(7, key="profile:{a}:{b}") == "profile:7:2"
        assert key_of(get_user_model()(pk=3), key="user:{a.pk}") == "user:3"

    def test_an_argument_cannot_pass_for_a_part_of_the_template(self) -> None:
        assert key_of("x:y", key="{a}:{b}", b="z") != key_of("x", key="{a}:{b}", b="y:z")
        assert key_of("a b\n", key="{a}") == "a%20b%0A"

    def test_a_function_makes_it(self) -> None:
        assert key_of(7, key=lambda a, b=0: f"k{a}{b}") == "k70"

    @pytest.mark.parametrize("key", ["{c}", "{0}", "{}", "{a", "a}"])
    def test_a_template_that_cannot_be_filled_is_refused_at_once(self, key: str) -> None:
        with pytest.raises(TypeError, match=r"key of mod.plain"):
            CallKey(lambda a: a, "mod.plain", key, None)

    @pytest.mark.parametrize("key", [1, ("a",), b"a"])
    def test_so_is_what_is_no_key(self, key: Any) -> None:
        with pytest.raises(TypeError, match=r"key of mod.plain must be a text or a function"):
            CallKey(plain, "mod.plain", key, None)

    def test_a_function_must_return_a_text(self) -> None:
        with pytest.raises(TypeError, match=r"key of mod.plain must return a text, not 5"):
            key_of(key=lambda: 5)

    def test_what_vary_returns_is_added(self) -> None:
        assert key_of(1, key="k", vary=lambda a: (a, "de")) == "k:(1,'de',)"
        assert key_of(1, vary=lambda a: 1) != key_of(1, vary=lambda a: 2)
        with pytest.raises(TypeError, match="what vary returned"):
            key_of(1, vary=lambda a: [])
