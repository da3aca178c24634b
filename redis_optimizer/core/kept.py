"""What a keeper deals in: values that were made, are kept, and are found."""

from collections.abc import Hashable
from enum import StrEnum
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

__all__ = ["Found", "Kept", "Made", "Place", "State"]

T = TypeVar("T")


class State(StrEnum):
    """Where a value comes from."""

    HIT = "hit"
    MISS = "miss"
    """It was made for this call, or for one that was under way."""
    STALE = "stale"
    """It is past its time, and making a new one failed."""


class Kept(NamedTuple, Generic[T]):
    """A value as a place keeps it.

    Args:
        value: The value.
        made_at: When it was made, on the place's clock.
        fresh_for: Seconds for which it is served without asking.
        stale_for: Seconds for which it is worth keeping after that.
    """

    value: T
    made_at: float
    fresh_for: float
    stale_for: float = 0.0


class Made(NamedTuple, Generic[T]):
    """What a load made.

    Args:
        value: The value.
        fresh_for: Seconds to keep it for. 0: not at all.
        is_shared: False: it is for the one that made it alone; whoever waited makes its own.
        key: What to keep it under, where the key that was asked for turned out not to tell enough.
    """

    value: T
    fresh_for: float
    is_shared: bool = True
    key: Hashable = None


class Found(NamedTuple, Generic[T]):
    """What a call gets.

    Args:
        value: The value.
        state: Where it comes from.
        age: Seconds since it was made.
        is_shared: Others may get this very object.
        is_joined: It is another call's: that one may be using it already.
    """

    value: T
    state: State
    age: float = 0.0
    is_shared: bool = True
    is_joined: bool = False


class Place(Protocol[T]):
    """Where values are kept. Only `drop` may raise; what cannot be read is not there."""

    def now(self) -> float:
        """Return the time in seconds, on the clock that the ages of values are told by."""

    def get(self, key: Any) -> Kept[T] | None:
        """Return what is kept under a key, however old."""

    def put(self, key: Any, kept: Kept[T]) -> bool:
        """Keep a value; return False where what was there before may be there still."""

    def drop(self, key: Any) -> None:
        """Keep it no longer."""

    async def aget(self, key: Any) -> Kept[T] | None:
        """Do as `get`."""

    async def aput(self, key: Any, kept: Kept[T]) -> bool:
        """Do as `put`."""

    async def adrop(self, key: Any) -> None:
        """Do as `drop`."""
