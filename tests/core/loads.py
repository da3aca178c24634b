"""What the tests of single flight share: loads that end when told to, and places to run them."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

PATIENCE = 60.0  # seconds after which a test has failed, never reached otherwise


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "gave up waiting"
        time.sleep(0.001)


async def auntil(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.001)


class Load:
    """A load that counts its calls and ends when told to."""

    def __init__(self, *outcomes: object) -> None:
        self.outcomes = list(outcomes)
        self.calls = 0
        self.started = threading.Event()
        self.may_end = threading.Event()

    def __call__(self) -> object:
        self.calls += 1
        self.started.set()
        assert self.may_end.wait(PATIENCE)
        return self.next_outcome()

    async def acall(self) -> object:
        self.calls += 1
        self.started.set()
        await auntil(self.may_end.is_set)
        return self.next_outcome()

    def next_outcome(self) -> object:
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome


def outcome_of(future: Future[object]) -> object:
    return future.exception(PATIENCE) or future.result()


@contextmanager
def held(lock: Any) -> Iterator[None]:
    """Hold a lock in another thread, so that a fork copies it as one that nobody will release."""
    with ThreadPoolExecutor(1) as other:
        other.submit(lock.acquire).result()
        try:
            yield
        finally:
            other.submit(lock.release).result()


@contextmanager
def event_loop() -> Iterator[Callable[[Awaitable[object]], Future[object]]]:
    """Run an event loop in a thread of its own; yield what starts a coroutine there."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield lambda coroutine: asyncio.run_coroutine_threadsafe(coroutine, loop)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(PATIENCE)
        loop.close()
