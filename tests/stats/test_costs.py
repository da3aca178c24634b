"""Costs belong to the context in which they are measured."""

import asyncio
import contextvars
import threading

from redis_optimizer.stats.costs import Costs, current, measuring


def test_nothing_is_measured_unless_somebody_asks() -> None:
    assert current() is None


def test_what_is_done_inside_is_added() -> None:
    costs = Costs()
    with measuring(costs):
        assert current() is costs
        costs.add_hit()
        costs.add_trip(0.25)
        costs.add_trip(0.5)
        costs.add_checks(3, 1.5)
    assert current() is None
    assert costs == Costs(hits=1, trips=2, seconds=0.75, checks=3, check_seconds=1.5)


def test_inside_another_the_inner_ones_count() -> None:
    outer, inner = Costs(), Costs()
    with measuring(outer):
        with measuring(inner):
            assert current() is inner
        assert current() is outer


async def test_tasks_that_are_started_inside_belong_to_it() -> None:
    async def see() -> Costs | None:
        return current()

    costs = Costs()
    with measuring(costs):
        assert await asyncio.create_task(see()) is costs
        assert await asyncio.to_thread(current) is costs
    assert await asyncio.create_task(see()) is None


def test_it_may_end_in_another_context_than_it_began() -> None:
    measured = measuring(Costs())
    contextvars.copy_context().run(measured.__enter__)
    measured.__exit__(None, None, None)
    assert current() is None


def test_no_addition_of_many_threads_is_lost() -> None:
    costs = Costs()

    def add() -> None:
        for _ in range(2_000):
            costs.add_hit()
            costs.add_trip(1.0)
            costs.add_checks(1, 1.0)

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert costs == Costs(8_000, 8_000, 8_000.0, 8_000, 8_000.0)


def test_what_is_added_inside_is_added_to_the_outer_costs_too() -> None:
    outer = Costs()
    inner = Costs(outer=outer, by_store={})
    inner.add_hit("a")
    inner.add_trip(0.5, "a")
    inner.add_trip(0.25, "b")
    inner.add_job()
    inner.add_checks(2, 1.0)
    expected = Costs(hits=1, trips=2, seconds=0.75, jobs=1, checks=2, check_seconds=1.0)
    assert outer == expected
    assert inner.by_store == {"a": Costs(1, 1, 0.5), "b": Costs(0, 1, 0.25)}
