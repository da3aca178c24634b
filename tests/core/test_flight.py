"""Single flight between threads: who loads, who waits, and what each of them gets."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import os
import threading
import time
import weakref
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from redis_optimizer.core import flight as flight_module
from redis_optimizer.core.flight import Flights

from .loads import PATIENCE, Load, held, outcome_of, until


@pytest.fixture
def flights() -> Flights:
    return Flights()


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(max_workers=100) as pool:
        yield pool


class TestThreads:
    def test_a_hundred_threads_that_miss_one_key_load_it_once(
        self, flights: Flights, threads: ThreadPoolExecutor
    ) -> None:
        value = object()
        load = Load(value)
        barrier = threading.Barrier(100)

        def caller() -> object:
            barrier.wait(PATIENCE)
            return flights.run("key", load)

        calls = [threads.submit(caller) for _ in range(100)]
        until(lambda: flights.joined == 99)
        assert len(flights) == 1
        load.may_end.set()
        assert {id(call.result(PATIENCE)) for call in calls} == {id(value)}
        assert load.calls == 1
        assert len(flights) == 0

    def test_different_keys_do_not_wait_for_each_other(
        self, flights: Flights, threads: ThreadPoolExecutor
    ) -> None:
        load = Load("slow")
        slow = threads.submit(flights.run, "slow", load)
        assert load.started.wait(PATIENCE)
        assert flights.run("quick", lambda: "quick") == "quick"
        load.may_end.set()
        assert slow.result(PATIENCE) == "slow"
        assert flights.joined == 0

    def test_nothing_is_remembered(self, flights: Flights) -> None:
        values = iter([1, 2])
        assert [flights.run("key", lambda: next(values)) for _ in range(2)] == [1, 2]

    @pytest.mark.parametrize("error", [ValueError("no"), StopIteration("no")], ids=repr)
    def test_an_error_reaches_every_waiter_as_the_same_object(
        self, flights: Flights, threads: ThreadPoolExecutor, error: Exception
    ) -> None:
        load = Load(error)
        calls = [threads.submit(flights.run, "key", load) for _ in range(10)]
        until(lambda: flights.joined == 9)
        load.may_end.set()
        assert all(call.exception(PATIENCE) is error for call in calls)
        assert load.calls == 1

    def test_an_error_leaves_nothing_behind(self, flights: Flights) -> None:
        with pytest.raises(ValueError, match="invalid literal"):
            flights.run("key", lambda: int("x"))
        assert len(flights) == 0
        assert flights.run("key", lambda: 1) == 1

    def test_an_error_is_freed_without_the_garbage_collector(
        self, flights: Flights, threads: ThreadPoolExecutor
    ) -> None:
        class HeavyError(Exception):
            pass

        def fail() -> None:
            until(lambda: flights.joined == 1)
            raise HeavyError

        def caller() -> weakref.ref[HeavyError]:
            try:
                flights.run("key", fail)
            except HeavyError as error:
                return weakref.ref(error)
            raise AssertionError("it did not fail")

        gc.disable()
        try:
            references = [threads.submit(caller) for _ in range(2)]
            errors = [reference.result(PATIENCE) for reference in references]
            until(lambda: all(error() is None for error in errors))
        finally:
            gc.enable()

    @pytest.mark.parametrize(
        "end", [KeyboardInterrupt, SystemExit, GeneratorExit, asyncio.CancelledError]
    )
    def test_a_waiter_takes_over_from_a_leader_that_was_stopped(
        self, flights: Flights, threads: ThreadPoolExecutor, end: type[BaseException]
    ) -> None:
        load = Load(end(), "value")
        calls = [threads.submit(flights.run, "key", load) for _ in range(5)]
        until(lambda: flights.joined == 4)
        load.may_end.set()
        outcomes = [outcome_of(call) for call in calls]
        assert sorted(type(outcome) for outcome in outcomes if outcome != "value") == [end]
        assert outcomes.count("value") == 4
        assert load.calls == 2
        assert len(flights) == 0

    def test_a_flight_is_over_before_its_waiters_wake(
        self, flights: Flights, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        in_progress = []

        class Spy(Future[object]):
            def set_result(self, result: object) -> None:
                in_progress.append(len(flights))
                super().set_result(result)

        monkeypatch.setattr(flight_module, "Future", Spy)
        flights.run("key", lambda: 1)
        with pytest.raises(ValueError, match="invalid literal"):
            flights.run("key", lambda: int("x"))
        assert in_progress == [0, 0]


class TestCircles:
    """Where waiting would never end, a caller loads for itself."""

    def test_a_load_may_ask_for_its_own_key(self, flights: Flights) -> None:
        assert flights.run("key", lambda: flights.run("key", lambda: "inner")) == "inner"
        assert (len(flights), flights.joined) == (0, 0)

    def test_a_load_may_ask_for_its_own_key_by_way_of_another(self, flights: Flights) -> None:
        def load() -> str:
            return flights.run("other", lambda: flights.run("key", lambda: "inner"))

        assert flights.run("key", load) == "inner"

    def test_a_load_may_ask_for_its_own_key_from_another_context(
        self, flights: Flights, threads: ThreadPoolExecutor
    ) -> None:
        def load() -> object:
            return contextvars.Context().run(flights.run, "a", lambda: 1)

        assert threads.submit(flights.run, "a", load).result(PATIENCE) == 1

    def test_a_thread_does_not_wait_for_a_load_that_it_was_kept_from(
        self, flights: Flights, monkeypatch: pytest.MonkeyPatch, threads: ThreadPoolExecutor
    ) -> None:
        def interrupt(lead: flight_module.Lead) -> None:  # as Celery's soft time limit may
            monkeypatch.undo()
            raise TimeoutError

        def run() -> object:
            with pytest.raises(TimeoutError):
                flights.run("a", lambda: 1)
            return flights.run("a", lambda: 2), asyncio.run(flights.arun("a", return_three))

        async def return_three() -> int:
            return 3

        monkeypatch.setattr(flight_module.Lead, "__enter__", interrupt)
        assert threads.submit(run).result(PATIENCE) == (2, 3)

    def test_two_loads_may_need_each_other(
        self, flights: Flights, threads: ThreadPoolExecutor
    ) -> None:
        both = threading.Barrier(2)

        def load(own: str, other: str) -> str:
            both.wait(PATIENCE)
            return own + flights.run(other, lambda: other)

        calls = [
            threads.submit(flights.run, own, lambda own=own, other=other: load(own, other))
            for own, other in ("ab", "ba")
        ]
        # One of them waits for the other, which helps itself.
        assert sorted(call.result(PATIENCE)[0] for call in calls) == ["a", "b"]
        assert flights.joined == 1
        assert len(flights) == 0

    def test_a_load_that_has_waited_is_waited_for_again(
        self, flights: Flights, threads: ThreadPoolExecutor
    ) -> None:
        other, last = Load("other"), Load("last")

        def load() -> object:
            flights.run("other", other)
            return last()

        leader = threads.submit(flights.run, "other", other)
        assert other.started.wait(PATIENCE)
        outer = threads.submit(flights.run, "key", load)
        until(lambda: flights.joined == 1)
        other.may_end.set()
        leader.result(PATIENCE)
        assert last.started.wait(PATIENCE)

        # "key" no longer needs "other", so inside a load of "other" it can be waited for.
        waiter = threads.submit(flights.run, "other", lambda: flights.run("key", lambda: "own"))
        until(lambda: flights.joined == 2)
        last.may_end.set()
        assert (outer.result(PATIENCE), waiter.result(PATIENCE)) == ("last", "last")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the platform cannot fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
class TestFork:
    def test_a_child_does_not_wait_for_the_flights_of_its_parent(
        self, flights: Flights, threads: ThreadPoolExecutor
    ) -> None:
        load = Load("parent")
        leader = threads.submit(flights.run, "key", load)
        assert load.started.wait(PATIENCE)
        with held(flights._lock):  # as a thread of the parent may, at the moment of the fork
            child = os.fork()
            if child == 0:
                flights.reset()
                alone = (len(flights), flights.run("key", lambda: "child"), len(flights))
                os._exit(0 if alone == (0, "child", 0) else 1)
        try:
            assert wait_for_exit(child) == 0
        finally:
            load.may_end.set()
        assert leader.result(PATIENCE) == "parent"

    def test_a_load_that_forks_ends_in_both_processes(
        self, flights: Flights, threads: ThreadPoolExecutor
    ) -> None:
        waiters: list[Future[object]] = []

        def load() -> int:
            waiters.append(threads.submit(flights.run, "key", lambda: -1))
            until(lambda: flights.joined == 1)
            child = os.fork()
            if child == 0:
                flights.reset()
            return child

        parent = os.getpid()
        child = flights.run("key", load)
        if os.getpid() != parent:
            os._exit(0 if flights.run("key", lambda: 7) == 7 else 1)
        assert wait_for_exit(child) == 0
        assert waiters[0].result(PATIENCE) == child


def wait_for_exit(pid: int) -> int:
    """Return the exit status of a child; kill the child and fail when it does not end."""
    deadline = time.monotonic() + PATIENCE
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > deadline:
            os.kill(pid, 9)
            os.waitpid(pid, 0)
            pytest.fail("the child hangs")
        time.sleep(0.001)
