"""Checks that do as they are told, and a clock that stands still."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from redis_optimizer.health.base import Check
from tests.servers import wait_until


@dataclass(frozen=True, kw_only=True)
class Told(Check):
    """Does what a function does."""

    label: str
    act: Callable[[], Any]

    @property
    def name(self) -> str:
        return self.label

    def run(self) -> Any:
        return self.act()


@dataclass
class Gate:
    """Holds up whoever passes until it is opened, and counts them."""

    opened: threading.Event = field(default_factory=threading.Event)
    passing: list[str] = field(default_factory=list)

    def __call__(self) -> None:
        self.passing.append(threading.current_thread().name)
        assert self.opened.wait(60)

    def wait_entered(self, times: int = 1) -> None:
        """Wait until this many are inside, or were."""
        wait_until(lambda: len(self.passing) >= times)


@contextmanager
def gate() -> Iterator[Gate]:
    """Yield a gate that is opened at the end, so that no thread stays."""
    made = Gate()
    try:
        yield made
    finally:
        made.opened.set()


class Clock:
    """A time that goes on when it is told to; both a monotonic one and that of the wall."""

    def __init__(self, time: float = 1_000.0) -> None:
        self.time = time

    def __call__(self) -> float:
        return self.time

    def advance(self, seconds: float) -> None:
        """Let seconds pass."""
        self.time += seconds


def raising(error: BaseException) -> Callable[[], None]:
    """Return a function that raises the error."""

    def act() -> None:
        raise error

    return act
