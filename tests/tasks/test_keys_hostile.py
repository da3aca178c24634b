"""Dedup keys of any arguments: equal where a job could not tell them apart, and nowhere else."""

import datetime
import decimal
import math
import uuid
from typing import Any

import pytest
from celery import Celery
from django.utils.functional import Promise
from hypothesis import assume, example, given
from hypothesis import strategies as st

from redis_optimizer.tasks import OptimizedTask
from redis_optimizer.tasks.keys import key_of
from tests.anything import ANY_VALUE

app = Celery("keys", set_as_current=False)


@app.task(base=OptimizedTask, shared=False, dedup="until_executed", name="t")
def task(value: Any = None, other: Any = None) -> None: ...


def form(value: Any) -> Any:
    """Return what a job gets of a value, so that it can be compared."""
    match value:
        case Promise():
            return "text", str(value)
        case bool() | None | str() | bytes():
            return type(value).__name__.replace("str", "text"), value
        case float() if math.isnan(value):
            return ("nan",)
        case int() | float():
            return type(value).__name__, repr(value)
        case list() | tuple():
            return "list", tuple(map(form, value))
        case dict():
            return "dict", tuple(sorted((name, form(inner)) for name, inner in value.items()))
        case datetime.timedelta():
            return "timedelta", value
        case datetime.datetime() | datetime.date() | datetime.time():
            return type(value).__name__, value.isoformat()
        case decimal.Decimal() | uuid.UUID():
            return type(value).__name__, str(value)
    raise AssertionError(value)


def key(value: Any) -> str:
    return key_of(task, (value,), {})


@given(ANY_VALUE, ANY_VALUE)
@example(1, True)
@example(1, 1.0)
@example(0.0, -0.0)
@example([1, 2], (1, 2))
@example("1", 1)
@example(b"a", "a")
@example(b"\xff", "\xff")
@example(float("nan"), float("nan"))
@example(decimal.Decimal("1.0"), decimal.Decimal("1.00"))
@example(datetime.datetime(2026, 1, 1), datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC))
@example(datetime.datetime(2026, 1, 1), datetime.date(2026, 1, 1))
@example({"a": 1, "b": 2}, {"b": 2, "a": 1})
@example("é", "e\u0301")
@example("\ud800", "\ufffd")
def test_keys_are_equal_where_the_arguments_are(one: Any, other: Any) -> None:
    assert (key(one) == key(other)) == (form(one) == form(other))


@given(ANY_VALUE, ANY_VALUE)
def test_how_they_are_given_does_not_matter(one: Any, other: Any) -> None:
    keys = {
        key_of(task, (one, other), {}),
        key_of(task, (one,), {"other": other}),
        key_of(task, (), {"other": other, "value": one}),
    }
    assert len(keys) == 1
    if form(one) != form(other):
        assert key_of(task, (other, one), {}) not in keys


@given(ANY_VALUE)
def test_a_key_is_a_short_text_of_ascii(value: Any) -> None:
    assert key(value).isascii()
    assert len(key(value)) < 100


def nested(depth: int) -> Any:
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


def endless() -> Any:
    value: list[Any] = []
    value.append(value)
    return value


@pytest.mark.parametrize(
    "value",
    [{1, 2}, frozenset("ab"), object(), 10**5000, nested(100_000), endless(), {(1, 2): 3}, 1j],
    ids=lambda value: type(value).__name__,
)
def test_what_has_no_form_is_an_error_that_names_the_argument(value: Any) -> None:
    with pytest.raises(TypeError, match="'value' has no form"):
        key(value)


@given(st.dictionaries(st.integers() | st.text(), st.integers(), min_size=1, max_size=3))
def test_names_are_texts_to_a_job(value: dict[Any, int]) -> None:
    """As JSON has it; names of several kinds have no order, and so no form."""
    texts = {str(name): number for name, number in value.items()}
    assume(len(texts) == len(value))
    if len({type(name) for name in value}) == 1 and all(type(name) is str for name in value):
        assert key(value) == key(texts)
