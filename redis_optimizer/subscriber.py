"""What a channel serves: those who want to hear of writes, and who hears of control messages."""

from collections.abc import Iterable
from typing import Protocol

__all__ = ["Control", "Line", "Subscriber", "merge_prefixes"]


class Subscriber(Protocol):
    """What wants to hear of writes."""

    @property
    def heartbeat(self) -> float:
        """Seconds between two PINGs while it is used."""

    @property
    def max_staleness(self) -> float:
        """Seconds for which an answered PING vouches."""

    @property
    def prefixes(self) -> tuple[str, ...]:
        """What the keys begin with of whose writes it wants to hear."""

    def reads(self) -> int:
        """Count the reads so far: the channel sends no PING while nobody reads."""

    def prove(self, key: str) -> str:
        """Write a key, with a lifetime of a second, the way the data goes.

        Args:
            key: What it begins with.

        Returns:
            The key that was written.
        """

    def on_up(self, valid_until: float) -> None:
        """Invalidations arrive from now on. Trust what you hold until ``valid_until``."""

    def on_alive(self, valid_until: float) -> None:
        """Trust what you hold until ``valid_until``."""

    def on_invalidated(self, keys: Iterable[str] | None) -> None:
        """These keys changed; None: any may have."""

    def on_down(self) -> None:
        """Trust nothing."""

    def on_refused(self, reason: str) -> None:
        """The server tells nothing of writes; trust what you read, for a short time."""


class Line(Protocol):
    """What a channel lets its control say to the server. All but `publish` is for its thread."""

    def publish(self, channel: str, data: bytes) -> None:
        """Publish a message, from any thread; nothing happens while the channel is down.

        Raises:
            redis.exceptions.RedisError, OSError: when the connection is lost.
        """

    def read(self, key: str) -> bytes | None:
        """Return what a key of database 0 holds, before the channel is up.

        Raises:
            redis.exceptions.RedisError, OSError: when the connection is lost, or the server
                refuses (a ResponseError).
        """

    def add(self, key: str, value: bytes) -> None:
        """Write a key of database 0 that does not exist; whether the server refuses is not told.

        Raises:
            redis.exceptions.RedisError, OSError: when the connection is lost.
        """

    def replace(self, key: str, before: bytes, value: bytes) -> bool:
        """Write a key of database 0 that still holds what was read, before the channel is up.

        Raises:
            redis.exceptions.RedisError, OSError: as with `read`.
        """


class Control(Protocol):
    """What hears of control messages. It is called from the channel's thread, so is to be quick."""

    def on_connect(self, line: Line) -> None:
        """Look for what was said earlier: whatever is said from now on will be heard."""

    def on_message(self, data: bytes, line: Line) -> None:
        """Act on what somebody published."""

    def on_flushed(self, line: Line) -> None:
        """All keys of a database were deleted."""

    def look(self) -> float:
        """Do what is due, and return the seconds after which to be called again."""


def merge_prefixes(prefixes: Iterable[str]) -> list[str]:
    """Drop each prefix that begins with another one: the server refuses overlapping ones."""
    merged: list[str] = []
    for prefix in sorted(set(prefixes)):
        if not merged or not prefix.startswith(merged[-1]):
            merged.append(prefix)
    return merged
