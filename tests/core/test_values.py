"""Values: which are kept as they are, and that no caller can change what the next one sees."""

from __future__ import annotations

import enum
import pickle
from collections import OrderedDict, namedtuple
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from django.utils.safestring import SafeString, mark_safe

import redis_optimizer.cache  # noqa: F401  # it makes SafeString an atom
from redis_optimizer.core.values import ATOMS, freeze, is_atom, thaw


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 1


class Word(enum.StrEnum):
    YES = "yes"


class Text(str):
    """A str that carries state."""


class Number(int):
    pass


class Pair(tuple[int, int]):
    """A tuple with a `__dict__`."""


Point = namedtuple("Point", "x y")


class Thing:
    """Hashable, and yet it can be changed."""

    def __init__(self) -> None:
        self.state = [1]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Thing) and self.state == other.state

    def __hash__(self) -> int:
        return 1


def kind(value: object) -> str:
    return type(value).__name__


IMMUTABLE = [
    "text",
    "",
    b"bytes",
    1,
    2**100,
    1.5,
    True,
    False,
    None,
    1j,
    Decimal("1.10"),
    datetime(2024, 1, 1, tzinfo=UTC),
    date(2024, 1, 1),
    time(12),
    timedelta(1),
    UUID(int=1),
    SafeString("<b>"),
    (),
    (1, "a", (2, (b"c", None))),
    frozenset(),
    frozenset({1, (2, "b")}),
]

MUTABLE = [
    [],
    [1],
    {"a": 1},
    {1, 2},
    bytearray(b"a"),
    (1, [2]),
    (1, (2, (3, [4]))),
    Colour.RED,
    Level.HIGH,
    Word.YES,
    (Word.YES,),
    Text("text"),
    (Text("text"),),
    frozenset({Text("text")}),
    Number(1),
    Pair((1, 2)),
    Point(1, 2),
    Point(1, [2]),
    frozenset({Thing()}),
    OrderedDict(a=1),
    Thing(),
    range(3),
]


@pytest.mark.parametrize("value", IMMUTABLE, ids=kind)
def test_an_immutable_value_is_kept_as_it_is(value: object) -> None:
    assert is_atom(value)
    kept, load, size = freeze(value)
    assert kept is value
    assert load is None
    assert thaw(kept, load) is value
    assert size > 0


@pytest.mark.parametrize("value", MUTABLE, ids=kind)
def test_every_other_value_is_pickled(value: object) -> None:
    assert not is_atom(value)
    kept, load, size = freeze(value)
    assert type(kept) is bytes
    assert size == len(kept)
    copy = thaw(kept, load)
    assert copy == value
    assert type(copy) is type(value)


def test_a_safe_string_comes_back_safe() -> None:
    kept, load, _ = freeze(mark_safe("<b>"))
    assert type(thaw(kept, load)) is SafeString


def test_state_of_a_subclass_survives() -> None:
    text = Text("text")
    text.note = ["kept"]  # type: ignore[attr-defined]
    kept, load, _ = freeze(text)
    assert thaw(kept, load).note == ["kept"]


@pytest.mark.parametrize("value", [{"a": [1]}, (1, [2]), [[1]]], ids=repr)
def test_a_change_to_the_original_is_not_kept(value: Any) -> None:
    kept, load, _ = freeze(value)
    before = thaw(kept, load)
    inner_list(value).append("changed")
    assert thaw(kept, load) == before != value


@pytest.mark.parametrize("value", [{"a": [1]}, (1, [2]), [[1]]], ids=repr)
def test_each_reader_gets_a_copy_of_its_own(value: Any) -> None:
    kept, load, _ = freeze(value)
    first, second = thaw(kept, load), thaw(kept, load)
    inner_list(first).append("changed")
    assert second == thaw(kept, load) == value


def inner_list(value: Any) -> list[object]:
    inner: list[object] = value["a"] if isinstance(value, dict) else value[-1]
    return inner


def test_a_pickle_that_is_at_hand_is_not_made_again() -> None:
    pickled = pickle.dumps([1], 2)
    kept, load, size = freeze([1], pickled)
    assert kept is pickled
    assert size == len(pickled)
    assert thaw(kept, load) == [1]


def test_an_immutable_value_does_not_need_its_pickle() -> None:
    kept, load, _ = freeze("text", pickle.dumps("text"))
    assert kept == "text"
    assert load is None


def test_the_size_of_a_tuple_is_that_of_its_members_as_well() -> None:
    small, large = freeze(("a", ("b",))), freeze(("a" * 10_000, ("b" * 10_000,)))
    assert large[2] - small[2] == 2 * 9_999
    assert freeze(frozenset({"a" * 10_000}))[2] > 10_000


@pytest.mark.parametrize("value", [lambda: None, [lambda: None], (1, [lambda: None])])
def test_a_value_that_cannot_be_pickled_says_so(value: object) -> None:
    with pytest.raises((pickle.PicklingError, AttributeError, TypeError)):
        freeze(value)


def test_no_container_that_can_be_changed_is_an_atom() -> None:
    assert not ATOMS & {list, dict, set, bytearray, tuple, frozenset, object}
