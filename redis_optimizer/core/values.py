"""Keep a cached value so that no caller can change what the next one sees.

Immutable atoms are kept as the object itself; everything else is kept as pickle bytes and
unpickled for every reader, as LocMemCache does. Types are compared exactly: an enum member or a
``str`` subclass may carry state, so it is pickled.
"""

import pickle
import sys
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

__all__ = ["ATOMS", "PROTOCOL", "Load", "freeze", "is_atom", "thaw"]

#: Turns stored bytes back into a value; ``None`` says that the object itself is stored.
Load = Callable[[bytes], Any] | None

ATOMS: Final[set[type]] = {
    str,
    bytes,
    int,
    float,
    bool,
    complex,
    type(None),
    Decimal,
    datetime,
    date,
    time,
    timedelta,
    UUID,
}
"""Types whose instances are immutable; a caller may add its own (Django's ``SafeString``)."""

PROTOCOL: Final = 5


def is_atom(value: object) -> bool:
    """Say whether ``value`` can be handed to any number of callers as it is.

    Args:
        value: Any object. Tuples and frozensets count when all their members do.

    Returns:
        True when nothing reachable from ``value`` can be changed.
    """
    kind = type(value)
    if kind in ATOMS:
        return True
    if kind is tuple or kind is frozenset:
        return all(map(is_atom, value))  # type: ignore[call-overload]  # narrowed by `kind`
    return False


def freeze(value: object, pickled: bytes | None = None) -> tuple[Any, Load, int]:
    """Prepare ``value`` for keeping.

    Args:
        value: The value to keep.
        pickled: Its pickle, where the caller already holds one (the bytes read from Redis).

    Returns:
        ``(kept, load, size)``: what to keep, how to read it, and its size in bytes.

    Raises:
        Exception: Whatever pickle raises for a value that cannot be pickled.
    """
    if type(value) in ATOMS:
        return value, None, sys.getsizeof(value)
    if is_atom(value):
        return value, None, _size(value)
    # S301: these bytes were made by this process, or came from the Redis that django-redis
    # unpickles from anyway.
    data = pickle.dumps(value, PROTOCOL) if pickled is None else pickled
    return data, pickle.loads, len(data)


def thaw(kept: Any, load: Load) -> Any:
    """Return the value that :func:`freeze` kept: a fresh copy unless it is an atom."""
    return kept if load is None else load(kept)


def _size(value: object) -> int:
    size = sys.getsizeof(value)
    if isinstance(value, tuple | frozenset):
        size += sum(map(_size, value))
    return size
