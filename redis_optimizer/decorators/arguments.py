"""The key of a call: the same in every process, and different for different arguments."""

import inspect
from collections.abc import Callable
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum
from functools import partial
from hashlib import blake2b
from string import Formatter
from typing import Any, Final
from urllib.parse import quote
from uuid import UUID
from zoneinfo import ZoneInfo

from django.db.models import Model

__all__ = ["CallKey"]

PREFIX: Final = "cached:"

LONGEST: Final = 200
"""Characters of a key that stays readable. Memcached takes 250, with the prefix of the alias."""

ATOMS: Final = frozenset(
    {type(None), bool, int, float, complex, bytes, Decimal, UUID, date, timedelta}
)
"""Types whose values are written the same everywhere."""

ZONES: Final = frozenset({type(None), timezone, ZoneInfo})
"""Types of time zones of which that is true."""


class CallKey:
    """Makes the key of a call.

    Args:
        function: What is called.
        name: Of the function, as messages call it.
        key: What the site gave: a template with the names of parameters, or a function of the
            arguments. None: the name of the function, and its arguments.
        vary: Called with the arguments; what it returns is added.

    Raises:
        TypeError: `key` is something else, or names a parameter that there is not.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        name: str,
        key: str | Callable[..., str] | None,
        vary: Callable[..., Any] | None,
    ) -> None:
        self.name = name
        self._signature = inspect.signature(function)
        self._bound = _bound_to(function)
        self._key = key
        self._vary = vary
        if key is not None and not isinstance(key, str) and not callable(key):
            raise TypeError(f"key of {name} must be a text or a function, not {key!r}.")
        if isinstance(key, str):
            self._check_template(key)

    def __call__(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
        """Return the key of a call.

        Raises:
            TypeError: the arguments do not fit the function, or one has no stable name.
        """
        if self._key is None:
            given = self._bind(args, kwargs)
            bound = self._encode("self", self._bound) if self._bound else ""
            key = f"{PREFIX}{self.name}{bound}({self._encode_all(given.items())})"
        elif isinstance(self._key, str):
            key = _TEMPLATE.vformat(self._key, (), self._bind(args, kwargs))
        else:
            key = self._key(*args, **kwargs)
            if not isinstance(key, str):
                raise TypeError(f"key of {self.name} must return a text, not {key!r:.100}.")
        if self._vary is not None:
            key += ":" + self._encode("what vary returned", self._vary(*args, **kwargs))
        return _short(key)

    def _bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        if not args and not kwargs and not self._signature.parameters:
            return {}
        bound = self._signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return bound.arguments

    def _check_template(self, key: str) -> None:
        try:
            fields = [field for _, field, _, _ in Formatter().parse(key) if field is not None]
        except ValueError as error:
            raise TypeError(f"key of {self.name} is no template: {error}.") from error
        for field in fields:
            first = field.partition(".")[0].partition("[")[0]
            if first not in self._signature.parameters:
                raise TypeError(
                    f"key of {self.name} names {{{field}}}, but it has the parameters "
                    f"{', '.join(self._signature.parameters) or 'none'}."
                )

    def _encode_all(self, arguments: Any) -> str:
        return ",".join(f"{name}={self._encode(name, value)}" for name, value in arguments)

    def _encode(self, name: str, value: Any) -> str:
        """Return a text that stands for a value: for this one alone, in every process."""
        if isinstance(value, str):
            return ascii(str(value))
        if isinstance(value, Enum):
            return f"{_path(type(value))}.{value.name}"
        if isinstance(value, type):
            return _path(value)
        if isinstance(value, Model):
            if value.pk is None:
                raise self._nameless(name, value)
            return f"{value._meta.label}:{self._encode(name, value.pk)}"
        kind = type(value)
        if kind in ATOMS or (kind in (datetime, time) and type(value.tzinfo) in ZONES):
            return ascii(value)
        if kind is tuple:
            return f"({''.join(self._encode(name, one) + ',' for one in value)})"
        if kind is frozenset:
            return f"{{{','.join(sorted(self._encode(name, one) for one in value))}}}"
        if kind is dict and name in self._keywords:
            return f"({self._encode_all(sorted(value.items()))})"
        raise self._nameless(name, value)

    @property
    def _keywords(self) -> set[str]:
        """The name of the parameter for further keywords, whose value is a dict by itself."""
        parameters = self._signature.parameters.values()
        return {one.name for one in parameters if one.kind is one.VAR_KEYWORD}

    def _nameless(self, name: str, value: Any) -> TypeError:
        return TypeError(
            f"{self.name} cannot be cached by its argument {name}: {type(value).__name__} has no "
            "form that is the same in every process. Pass an id, a text, a number or a tuple of "
            "such, or say by key=... what to keep the result under."
        )


def _bound_to(function: Any) -> tuple[Any, ...]:
    """Return what a function gets with each call, which neither name nor signature tell."""
    if isinstance(function, partial):
        return (*_bound_to(function.func), *function.args)
    if inspect.ismethod(function):
        return (function.__self__,)
    # An object that is called; what stands in for a function has its name.
    return () if hasattr(function, "__qualname__") else (function,)


class _Template(Formatter):
    """Puts arguments into a template so that ":" and the like come from the template alone."""

    def format_field(self, value: Any, format_spec: str) -> str:
        return quote(str(super().format_field(value, format_spec)), safe="")


_TEMPLATE: Final = _Template()


def _path(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _short(key: str) -> str:
    """Return a key that every cache takes: no spaces, no control characters, not too long."""
    if len(key) <= LONGEST and key.isascii() and key.isprintable() and " " not in key:
        return key
    digest = blake2b(key.encode("utf-8", "surrogatepass"), digest_size=20).hexdigest()
    readable = "".join(c for c in key[:100] if c.isascii() and (c.isalnum() or c in "._:-"))
    return f"{readable}:{digest}"
