"""Single flight: callers that miss the same key at the same time share one load."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable, Hashable
from concurrent.futures import Future
from contextlib import suppress
from contextvars import ContextVar
from types import TracebackType
from typing import Any, NamedTuple, TypeVar, cast

T = TypeVar("T")


class Outcome(NamedTuple):
    """What became of a load; travels as the *result* of a future, whatever it is.

    A future that holds an exception complains when nobody fetches it (an asyncio waiter that was
    cancelled does not) and refuses some of them (StopIteration).
    """

    value: Any = None
    error: Exception | None = None
    abandoned: bool = False


class Flight:
    """One load in progress."""

    __slots__ = ("awaits", "future", "led_by_coroutine", "pid", "successor", "thread")

    def __init__(self, led_by_coroutine: bool) -> None:
        self.led_by_coroutine = led_by_coroutine
        self.future: Future[Outcome] = Future()
        # A running future cannot be cancelled, so a waiter that gives up takes nobody with it.
        self.future.set_running_or_notify_cancel()
        self.awaits: list[Flight] = []  # flights that this load waits for at this moment
        self.successor: Flight | None = None  # the flight that took over from this one
        self.pid = os.getpid()
        self.thread = threading.get_ident()

    def needs(self, led: tuple[Flight, ...]) -> bool:
        """Tell whether this load cannot end before one of ``led`` does.

        Callers hold the table's lock. The walk ends because nobody may close a circle.
        """
        return self in led or any(flight.needs(led) for flight in self.awaits)


# The flights whose loads the running code is part of, outermost first. A context variable and
# not a thread id: it follows the code into tasks, asyncio.to_thread and sync_to_async.
_led: ContextVar[tuple[Flight, ...]] = ContextVar("redis_optimizer_flights", default=())


class Lead:
    """The leader's part: announces the flight to the code inside the block, and its outcome."""

    def __init__(self, flights: Flights, key: Hashable, flight: Flight) -> None:
        self.flights, self.key, self.flight = flights, key, flight
        self.value: Any = None

    def __enter__(self) -> Lead:
        self.token = _led.set((*_led.get(), self.flight))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None:
            outcome = Outcome(self.value)
        elif isinstance(error, Exception):
            outcome = Outcome(error=error)
        else:
            # KeyboardInterrupt, SystemExit, CancelledError, GeneratorExit: somebody stopped this
            # caller; that says nothing about the load, and one of the waiters takes it over.
            outcome = Outcome(abandoned=True)
        self.flights._land(self.key, self.flight, outcome)
        with suppress(ValueError):  # a coroutine that is closed from outside its own context
            _led.reset(self.token)
        # An error refers to the frames it passed, they to this object: leave no circle.
        del self.flight


class Flights:
    """Coalesce loads by key, for threads and asyncio tasks of one process together.

    The first caller that asks for a key runs its own ``load``; those that come while it runs wait
    and get the same value, or the same error. Nothing is remembered once a load has ended.

    A caller runs its own ``load`` at once, instead of waiting, where waiting could never end:

    * inside a load of the same key, or of one that waits for this one (``a`` needs ``b`` here
      while ``b`` needs ``a`` there);
    * in the thread of a leader that is no coroutine: its load is part of what runs there, or what a
      signal raised, such as Celery's soft time limit, kept it from beginning;
    * in ``run()`` while a coroutine leads: what it awaits may need this very thread (asgiref runs
      code that is sensitive to threads in one);
    * in ``run()`` on a thread whose event loop is running: the leader may be a task of that loop,
      or need it to finish, and this thread could not serve it while it waits.

    Attributes:
        joined: The number of calls that waited for somebody else's load.
    """

    def __init__(self) -> None:
        self.joined = 0
        self._lock = threading.RLock()  # a finalizer that the GC runs inside may come back here
        self._table: dict[Hashable, Flight] = {}

    def __len__(self) -> int:
        """Return the number of loads in progress."""
        return len(self._table)

    def run(self, key: Hashable, load: Callable[[], T]) -> T:
        """Return what ``load()`` returns, here or in the caller that is already loading ``key``.

        Args:
            key: What is loaded; equal keys share a load.
            load: Called without arguments; at most once at a time for each key.

        Returns:
            The loaded value: the same object for all callers that shared the load.

        Raises:
            Exception: Whatever ``load`` raised: the same object for all that shared the load.
        """
        may_wait = not _on_running_loop()
        before: Flight | None = None
        while True:
            flight, leads = self._enter(key, before, may_wait=may_wait, coroutine=False)
            if flight is None:
                return load()
            outcome: Outcome | None = None
            try:
                if leads:
                    with Lead(self, key, flight) as lead:
                        lead.value = value = load()
                    return value
                try:
                    outcome = flight.future.result()
                finally:
                    self._leave(flight)
                if outcome.error is not None:
                    before = None
                    raise outcome.error
                if not outcome.abandoned:
                    return cast(T, outcome.value)
                before = flight
            finally:
                outcome = flight = None  # as in Lead.__exit__: leave no circle

    async def arun(self, key: Hashable, load: Callable[[], Awaitable[T]]) -> T:
        """Return what ``await load()`` returns; ``run()`` for asyncio.

        Cancelling a caller that waits affects that caller alone; cancelling the one that loads
        hands the load to one that waits.

        Args:
            key: What is loaded; equal keys share a load, with those of ``run()`` as well.
            load: Called without arguments, its result is awaited.

        Returns:
            The loaded value: the same object for all callers that shared the load.

        Raises:
            Exception: Whatever ``load`` raised: the same object for all that shared the load.
        """
        before: Flight | None = None
        while True:
            flight, leads = self._enter(key, before, may_wait=True, coroutine=True)
            if flight is None:
                return await load()
            outcome: Outcome | None = None
            try:
                if leads:
                    with Lead(self, key, flight) as lead:
                        lead.value = value = await load()
                    return value
                try:
                    outcome = await asyncio.wrap_future(flight.future)
                finally:
                    self._leave(flight)
                if outcome.error is not None:
                    before = None
                    raise outcome.error
                if not outcome.abandoned:
                    return cast(T, outcome.value)
                before = flight
            finally:
                outcome = flight = None

    def forget(self, key: Hashable) -> None:
        """Let nobody else join the load of ``key``: what it has read may be out of date by now.

        Those who wait for it already get what it loads; the next caller starts a load of its own.
        """
        # Without the lock: whoever calls this may hold one that a finalizer inside it waits for.
        self._table.pop(key, None)

    def reset(self) -> None:
        """Forget every flight; for a forked child, where the threads that load do not exist."""
        self._lock = threading.RLock()  # the fork may have happened while another thread held it
        self._table = {}
        self.joined = 0

    def _enter(
        self, key: Hashable, before: Flight | None, *, may_wait: bool, coroutine: bool
    ) -> tuple[Flight | None, bool]:
        """Return the flight to take part in, if any, and whether the caller leads it.

        ``before`` is the flight that the caller waited for and that was abandoned. All who did so
        share one successor, however late they wake, even when it has landed by then.
        """
        with self._lock:
            flight = before.successor if before is not None else None
            flight = flight or self._table.get(key)
            leads = flight is None
            if flight is None:
                self._table[key] = flight = Flight(coroutine)
            if before is not None:
                before.successor = flight
            if leads:
                return flight, True
            led = _led.get()
            if flight.led_by_coroutine:
                blocked = not coroutine
            else:
                blocked = flight.thread == threading.get_ident()
            if blocked or not may_wait or flight.needs(led):
                return None, False
            for mine in led:
                mine.awaits.append(flight)
            self.joined += before is None
            return flight, False

    def _leave(self, flight: Flight) -> None:
        """Note that the caller no longer waits for ``flight``."""
        led = _led.get()
        if led:
            with self._lock:
                for mine in led:
                    mine.awaits.remove(flight)

    def _land(self, key: Hashable, flight: Flight, outcome: Outcome) -> None:
        """End a flight: out of the table first, so that whoever wakes can start a new one."""
        with self._lock:
            if self._table.get(key) is flight:
                self._table.pop(key, None)  # it may just have been forgotten
        # A child that was forked inside a load has none of the waiters, and perhaps a copy of a
        # lock that one of them held.
        if flight.pid == os.getpid():
            flight.future.set_result(outcome)


def _on_running_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
