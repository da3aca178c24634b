"""Inputs of any kind, for tests of what is parsed or taken from outside."""

import datetime
import decimal
import uuid
from collections.abc import Callable
from typing import Any

from django.utils.translation import gettext_lazy
from hypothesis import strategies as st

__all__ = ["ANY_JSON", "ANY_TEXT", "ANY_VALUE", "ATOMS", "near", "refusal"]

ANY_TEXT: st.SearchStrategy[str] = st.text() | st.text("\ud800\udfff\0\r\n a'\":{}[]", max_size=8)

ATOMS: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.integers(),
    st.sampled_from([10**18, 2**63, -(2**64), 10**400]),
    st.floats(),
    ANY_TEXT,
)

ANY_JSON: st.SearchStrategy[Any] = st.recursive(
    ATOMS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ANY_TEXT, inner, max_size=4),
    max_leaves=12,
)

_zones = st.none() | st.sampled_from(
    [datetime.UTC, datetime.timezone(datetime.timedelta(hours=-3, minutes=7))]
)

ANY_VALUE: st.SearchStrategy[Any] = st.recursive(
    st.one_of(
        ATOMS,
        st.binary(max_size=40),
        st.datetimes(timezones=_zones),
        st.dates(),
        st.times(),
        st.timedeltas(),
        st.decimals(allow_nan=False),
        st.uuids(),
        st.sampled_from([gettext_lazy("Yes"), gettext_lazy("é"), uuid.UUID(int=1)]),
        st.sampled_from([decimal.Decimal("NaN"), decimal.Decimal("1.0"), decimal.Decimal("1.00")]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(ANY_TEXT, inner, max_size=4),
    ),
    max_leaves=8,
)


def refusal(act: Callable[[], Any], kind: type[Exception]) -> Exception | None:
    """Return the error of that kind that a call raises; None when it succeeds."""
    try:
        act()
    except kind as error:
        return error
    return None


def near(draw: Any, value: Any) -> Any:
    """Return a value with one thing in it, however deep, put in place of another, or left out."""
    if isinstance(value, dict) and value and draw(st.integers(0, 5)):
        name = draw(st.sampled_from(sorted(value)))
        changed = dict(value)
        match draw(st.integers(0, 6)):
            case 0:
                del changed[name]
            case 1:
                changed[draw(ANY_TEXT)] = draw(ANY_JSON)
            case _:
                changed[name] = near(draw, value[name])
        return changed
    if isinstance(value, list) and value and draw(st.integers(0, 5)):
        place = draw(st.integers(0, len(value) - 1))
        if draw(st.integers(0, 6)):
            return [*value[:place], near(draw, value[place]), *value[place + 1 :]]
        return value[:place] + value[place + 1 :]
    return draw(ANY_JSON)
