"""Single flight between asyncio tasks, and between tasks and threads."""

from __future__ import annotations

import asyncio
import contextvars
import gc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from redis_optimizer.core.flight import Flights

from .loads import PATIENCE, Load, auntil, event_loop, until


@pytest.fixture
def flights() -> Flights:
    return Flights()


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(max_workers=100) as pool:
        yield pool


class TestTasks:
    def test_a_hundred_tasks_that_miss_one_key_load_it_once(self, flights: Flights) -> None:
        load = Load("value")

        async def main() -> list[object]:
            tasks = [asyncio.create_task(flights.arun("key", load.acall)) for _ in range(100)]
            await auntil(lambda: flights.joined == 99)
            load.may_end.set()
            return await asyncio.gather(*tasks)

        assert asyncio.run(main()) == ["value"] * 100
        assert load.calls == 1
        assert len(flights) == 0

    def test_an_error_reaches_every_waiter_as_the_same_object(self, flights: Flights) -> None:
        error = ValueError("no")
        load = Load(error)

        async def main() -> list[object]:
            tasks = [asyncio.create_task(flights.arun("key", load.acall)) for _ in range(5)]
            await auntil(lambda: flights.joined == 4)
            load.may_end.set()
            return await asyncio.gather(*tasks, return_exceptions=True)

        assert all(outcome is error for outcome in asyncio.run(main()))
        assert len(flights) == 0

    def test_a_waiter_takes_over_from_a_cancelled_leader(self, flights: Flights) -> None:
        load = Load("value")

        async def main() -> list[object]:
            leader = asyncio.create_task(flights.arun("key", load.acall))
            await auntil(load.started.is_set)
            waiters = [asyncio.create_task(flights.arun("key", load.acall)) for _ in range(3)]
            await auntil(lambda: flights.joined == 3)
            leader.cancel()
            load.may_end.set()
            return await asyncio.gather(leader, *waiters, return_exceptions=True)

        stopped, *values = asyncio.run(main())
        assert isinstance(stopped, asyncio.CancelledError)
        assert values == ["value"] * 3
        assert load.calls == 2
        assert len(flights) == 0

    @pytest.mark.parametrize("outcome", ["value", ValueError("no")], ids=["value", "error"])
    def test_a_cancelled_waiter_stops_alone_and_in_silence(
        self, flights: Flights, outcome: object
    ) -> None:
        load = Load(outcome)
        complaints: list[object] = []

        async def main() -> list[object]:
            loop = asyncio.get_running_loop()
            loop.set_exception_handler(lambda _, context: complaints.append(context))
            tasks = [asyncio.create_task(flights.arun("key", load.acall)) for _ in range(3)]
            await auntil(lambda: flights.joined == 2)
            tasks[1].cancel()
            await asyncio.wait([tasks[1]])
            load.may_end.set()
            return await asyncio.gather(*tasks, return_exceptions=True)

        leader, cancelled, waiter = asyncio.run(main())
        gc.collect()
        assert isinstance(cancelled, asyncio.CancelledError)
        assert (leader, waiter) == (outcome, outcome)
        assert load.calls == 1
        assert complaints == []

    def test_a_coroutine_that_is_closed_hands_its_load_over(self, flights: Flights) -> None:
        load = Load("value")

        async def forever() -> None:
            await asyncio.get_running_loop().create_future()

        async def main() -> object:
            abandoned = flights.arun("key", forever)
            contextvars.copy_context().run(abandoned.send, None)
            waiter = asyncio.create_task(flights.arun("key", load.acall))
            await auntil(lambda: flights.joined == 1)
            abandoned.close()
            load.may_end.set()
            return await waiter

        assert asyncio.run(main()) == "value"
        assert len(flights) == 0

    def test_a_load_may_ask_for_its_own_key_in_a_task(self, flights: Flights) -> None:
        async def inner() -> str:
            return "inner"

        async def load() -> list[str]:
            direct = await flights.arun("key", inner)
            task = await asyncio.create_task(flights.arun("key", inner))
            thread = await asyncio.to_thread(flights.run, "key", lambda: "inner")
            return [direct, task, thread]

        async def main() -> list[str]:
            async with asyncio.timeout(PATIENCE):
                return await flights.arun("key", load)

        assert asyncio.run(main()) == ["inner"] * 3
        assert (len(flights), flights.joined) == (0, 0)


class TestThreadsAndTasks:
    def test_tasks_and_threads_wait_for_a_thread(
        self, flights: Flights, threads: ThreadPoolExecutor
    ) -> None:
        load = Load("value")
        with event_loop() as start:
            leader = threads.submit(flights.run, "key", load)
            assert load.started.wait(PATIENCE)
            waiters = [
                threads.submit(flights.run, "key", load),
                start(flights.arun("key", load.acall)),
            ]
            until(lambda: flights.joined == 2)
            load.may_end.set()
            assert [call.result(PATIENCE) for call in (leader, *waiters)] == ["value"] * 3
        assert load.calls == 1

    def test_tasks_of_several_loops_wait_for_a_task(self, flights: Flights) -> None:
        load = Load("value")
        with event_loop() as start, event_loop() as start_elsewhere:
            leader = start(flights.arun("key", load.acall))
            assert load.started.wait(PATIENCE)
            waiters = [
                start(flights.arun("key", load.acall)),
                start_elsewhere(flights.arun("key", load.acall)),
            ]
            until(lambda: flights.joined == 2)
            load.may_end.set()
            assert [call.result(PATIENCE) for call in (leader, *waiters)] == ["value"] * 3
        assert load.calls == 1

    def test_a_thread_never_waits_for_a_task(
        self, flights: Flights, threads: ThreadPoolExecutor
    ) -> None:
        """What the task awaits may need that very thread, as the ORM's coroutines do."""

        async def leader() -> str:
            return await flights.arun("key", asks_the_thread)

        async def asks_the_thread() -> str:
            # The thread is busy with a call for the same key, and takes this one up after it.
            own = threads.submit(flights.run, "key", lambda: "own")
            assert await asyncio.wrap_future(own) == "own"
            return "value"

        assert asyncio.run(asyncio.wait_for(leader(), PATIENCE)) == "value"
        assert flights.joined == 0

    def test_a_thread_that_runs_an_event_loop_never_waits(
        self, flights: Flights, threads: ThreadPoolExecutor
    ) -> None:
        load = Load("leader")
        leader = threads.submit(flights.run, "key", load)
        assert load.started.wait(PATIENCE)

        async def on_the_loop() -> str:
            return flights.run("key", lambda: "own")

        assert asyncio.run(on_the_loop()) == "own"
        assert flights.joined == 0
        load.may_end.set()
        assert leader.result(PATIENCE) == "leader"

    def test_a_thread_that_runs_an_event_loop_may_lead(
        self, flights: Flights, threads: ThreadPoolExecutor
    ) -> None:
        load = Load("leader")

        async def on_the_loop() -> object:
            return flights.run("key", load)

        leader = threads.submit(asyncio.run, on_the_loop())
        assert load.started.wait(PATIENCE)
        waiter = threads.submit(flights.run, "key", lambda: "own")
        until(lambda: flights.joined == 1)
        load.may_end.set()
        assert (leader.result(PATIENCE), waiter.result(PATIENCE)) == ("leader", "leader")
