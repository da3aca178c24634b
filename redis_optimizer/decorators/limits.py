"""What a decorator is given is checked when it decorates, and the message names the view."""

from collections.abc import Callable
from math import inf
from typing import Any

__all__ = ["callable_or_none", "names", "seconds", "title"]


def title(decorated: Any) -> str:
    """Return the name of a view or a function, as messages call it."""
    # What View.as_view() returns is named after that method.
    named = getattr(decorated, "view_class", decorated)
    while not hasattr(named, "__qualname__"):  # a partial, or an object that is called
        named = getattr(named, "func", type(named))
    return f"{named.__module__}.{named.__qualname__}"


def seconds(name: str, value: object, whose: str) -> None:
    """Check a number of seconds.

    Raises:
        TypeError: it is not a number.
        ValueError: it is negative or endless.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} of {whose} must be a number of seconds, not {value!r}.")
    if not 0 <= value < inf:
        raise ValueError(f"{name} of {whose} must be 0 seconds or more, not {value!r}.")


def names(name: str, value: Any, whose: str) -> tuple[str, ...]:
    """Return a number of names.

    Raises:
        TypeError: it is something else; a single text among it, whose letters nobody means.
    """
    hint = f'{name} of {whose} must be a list of names, such as ("page",), not {value!r}.'
    if isinstance(value, str | bytes):
        raise TypeError(hint)
    try:
        given = tuple(value)
    except TypeError:
        raise TypeError(hint) from None
    if not all(isinstance(one, str) for one in given):
        raise TypeError(hint)
    return given


def callable_or_none(name: str, value: Any, whose: str) -> Callable[..., Any] | None:
    """Return a function, or None.

    Raises:
        TypeError: it is something else.
    """
    if value is not None and not callable(value):
        raise TypeError(f"{name} of {whose} must be a function or None, not {value!r}.")
    return value  # type: ignore[no-any-return]
