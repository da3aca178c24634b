"""A keeper: what is fresh is served, what is not is made once for all who ask."""

from __future__ import annotations

import asyncio
import gc
import logging
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from celery.exceptions import SoftTimeLimitExceeded

from redis_optimizer.core.keep import Keeper
from redis_optimizer.core.kept import Found, Kept, Made, State

from .loads import PATIENCE, Load, auntil, until


class Place:
    """A dict that counts its reads, with a clock that stands."""

    def __init__(self) -> None:
        self.time = 1000.0
        self.kept: dict[Any, Kept[Any]] = {}
        self.reads = 0
        self.on_put: Callable[[], object] = lambda: None

    def now(self) -> float:
        return self.time

    def get(self, key: Any) -> Kept[Any] | None:
        self.reads += 1
        return self.kept.get(key)

    def put(self, key: Any, kept: Kept[Any]) -> bool:
        self.on_put()
        self.kept[key] = kept
        return True

    def drop(self, key: Any) -> None:
        self.kept.pop(key, None)

    async def aget(self, key: Any) -> Kept[Any] | None:
        await asyncio.sleep(0)
        return self.get(key)

    async def aput(self, key: Any, kept: Kept[Any]) -> bool:
        await asyncio.sleep(0)
        return self.put(key, kept)

    async def adrop(self, key: Any) -> None:
        await asyncio.sleep(0)
        self.drop(key)


@pytest.fixture
def place() -> Place:
    return Place()


@pytest.fixture
def keeper(place: Place) -> Keeper[Any]:
    return Keeper(place, name="thing")


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(max_workers=200) as pool:
        yield pool


class Ask:
    """Asks a keeper, by threads' way or by asyncio's, and counts what it makes."""

    def __init__(self, keeper: Keeper[Any], is_async: bool) -> None:
        self.keeper = keeper
        self.is_async = is_async
        self.made = 0

    def __call__(self, *outcomes: Any, key: str = "key", **options: Any) -> Found[Any]:
        left = list(outcomes)

        def make() -> Made[Any]:
            self.made += 1
            outcome = left.pop(0)
            if isinstance(outcome, Exception):
                raise outcome
            return outcome if isinstance(outcome, Made) else Made(outcome, 60)

        async def amake() -> Made[Any]:
            await asyncio.sleep(0)
            return make()

        if self.is_async:
            return asyncio.run(self.keeper.aget(key, amake, **options))
        return self.keeper.get(key, make, **options)

    def drop(self, key: str = "key") -> None:
        if self.is_async:
            asyncio.run(self.keeper.adrop(key))
        else:
            self.keeper.drop(key)


@pytest.fixture(params=[False, True], ids=["sync", "async"])
def ask(keeper: Keeper[Any], request: pytest.FixtureRequest) -> Ask:
    return Ask(keeper, request.param)


class TestFreshness:
    def test_a_value_is_made_once_while_it_is_fresh(self, ask: Ask, place: Place) -> None:
        assert ask("a") == Found("a", State.MISS)
        place.time += 59.9
        found = ask("b")
        assert (found.value, found.state) == ("a", State.HIT)
        assert found.age == pytest.approx(59.9)
        place.time += 0.1
        assert ask("b") == Found("b", State.MISS)
        assert ask.made == 2

    def test_a_caller_may_ask_for_a_younger_one(self, ask: Ask, place: Place) -> None:
        ask("a")
        place.time += 30
        assert ask("b", max_age=31).value == "a"
        assert ask("b", max_age=30).value == "b"
        assert ask("c", max_age=30).value == "b"

    def test_a_caller_may_ask_for_a_new_one(self, ask: Ask) -> None:
        ask("a")
        assert ask("b", now=True) == Found("b", State.MISS)
        assert ask("c").value == "b"

    def test_what_is_for_0_seconds_is_not_kept(self, ask: Ask, place: Place) -> None:
        assert ask(Made("a", 0)).value == "a"
        assert place.kept == {}

    def test_a_value_may_be_kept_under_another_key(self, ask: Ask, place: Place) -> None:
        ask(Made("a", 60, key="other"))
        assert list(place.kept) == ["other"]

    def test_a_clock_that_went_back_makes_no_age_below_0(self, ask: Ask, place: Place) -> None:
        ask("a")
        place.time -= 5
        assert ask("b") == Found("a", State.HIT, 0.0)

    def test_what_is_not_believed_is_made_anew(self, place: Place) -> None:
        keeper: Keeper[Any] = Keeper(place, name="thing", believes=lambda value: value != "a")
        ask = Ask(keeper, False)
        ask("a")
        assert ask("b").value == "b"
        assert ask("c").value == "b"

    def test_a_miss_looks_into_the_place_once(self, ask: Ask, place: Place) -> None:
        ask("a")
        assert place.reads == 1


class TestErrors:
    def test_an_error_is_raised_and_not_kept(self, ask: Ask, place: Place) -> None:
        with pytest.raises(ValueError, match="no"):
            ask(ValueError("no"))
        assert place.kept == {}
        assert ask("a").value == "a"

    def test_an_old_value_is_served_instead_while_that_is_allowed(
        self, ask: Ask, place: Place, caplog: pytest.LogCaptureFixture
    ) -> None:
        ask.keeper.stale_for = 30
        ask("a")
        place.time += 89
        with caplog.at_level(logging.WARNING):
            found = ask(ValueError("no"))
        assert (found.value, found.state, found.age) == ("a", State.STALE, 89)
        assert "thing failed" in caplog.text
        place.time += 1
        with pytest.raises(ValueError, match="no"):
            ask(ValueError("no"))

    def test_without_that_permission_it_is_not_even_looked_for(
        self, ask: Ask, place: Place
    ) -> None:
        ask("a")
        place.time += 60
        with pytest.raises(ValueError, match="no"):
            ask(ValueError("no"))
        assert place.reads == 2


class TestDropping:
    def test_a_dropped_value_is_made_anew(self, ask: Ask) -> None:
        ask("a")
        ask.drop()
        assert ask("b").value == "b"

    def test_a_load_under_way_at_the_drop_is_not_kept(self, ask: Ask, place: Place) -> None:
        def make() -> Made[Any]:
            ask.keeper.drop("key")
            return Made("old", 60)

        async def amake() -> Made[Any]:
            await ask.keeper.adrop("key")
            return Made("old", 60)

        if ask.is_async:
            found = asyncio.run(ask.keeper.aget("key", amake))
        else:
            found = ask.keeper.get("key", make)
        assert found.value == "old"
        assert place.kept == {}
        assert ask("new").value == "new"
        assert ask("newer").value == "new"

    def test_a_drop_while_the_value_is_being_put_there_takes_it_out_again(
        self, ask: Ask, place: Place
    ) -> None:
        place.on_put = lambda: ask.keeper.drop("key")
        assert ask("old").value == "old"
        assert place.kept == {}

    def test_who_comes_after_a_drop_does_not_join_the_load_before_it(
        self, keeper: Keeper[Any], threads: ThreadPoolExecutor
    ) -> None:
        load = Load("old")
        first = threads.submit(keeper.get, "key", lambda: Made(load(), 60))
        assert load.started.wait(PATIENCE)
        keeper.drop("key")
        assert keeper.get("key", lambda: Made("new", 60)).value == "new"
        load.may_end.set()
        assert first.result(PATIENCE).value == "old"
        assert keeper.get("key", lambda: Made("newer", 60)).value == "new"


class TestSharing:
    def test_200_threads_share_one_load(
        self, keeper: Keeper[Any], threads: ThreadPoolExecutor
    ) -> None:
        load = Load("a")
        calls = [threads.submit(keeper.get, "key", lambda: Made(load(), 60)) for _ in range(200)]
        until(lambda: keeper.flights.joined == 199)
        load.may_end.set()
        found = [call.result(PATIENCE) for call in calls]
        assert {one.value for one in found} == {"a"}
        assert sum(one.is_joined for one in found) == 199
        assert load.calls == 1

    def test_200_tasks_share_one_load(self, keeper: Keeper[Any]) -> None:
        load = Load("a")

        async def make() -> Made[Any]:
            return Made(await load.acall(), 60)

        async def main() -> list[Found[Any]]:
            tasks = [asyncio.create_task(keeper.aget("key", make)) for _ in range(200)]
            await auntil(lambda: keeper.flights.joined == 199)
            load.may_end.set()
            return await asyncio.gather(*tasks)

        assert {one.value for one in asyncio.run(main())} == {"a"}
        assert load.calls == 1

    def test_who_looked_before_a_load_ended_looks_again(
        self, keeper: Keeper[Any], place: Place
    ) -> None:
        """Else a caller that is late by a moment would make the value a second time."""
        get = place.get

        def look(key: Any) -> Kept[Any] | None:
            seen = get(key)
            place.get = get  # type: ignore[method-assign]
            keeper.get("key", lambda: Made("a", 60))
            return seen

        place.get = look  # type: ignore[method-assign]
        assert keeper.get("key", lambda: Made("b", 60)).value == "a"

    def test_what_is_for_one_caller_is_made_by_each(
        self, keeper: Keeper[Any], threads: ThreadPoolExecutor
    ) -> None:
        load = Load(*range(10))
        calls = [
            threads.submit(keeper.get, "key", lambda: Made(load(), 0, is_shared=False))
            for _ in range(10)
        ]
        until(lambda: keeper.flights.joined == 9)
        load.may_end.set()
        assert sorted(call.result(PATIENCE).value for call in calls) == list(range(10))

    def test_what_cannot_be_sealed_is_made_by_each(
        self, place: Place, threads: ThreadPoolExecutor
    ) -> None:
        keeper: Keeper[Any] = Keeper(place, name="thing", seal=lambda value: False)
        load = Load(1, 2)
        calls = [threads.submit(keeper.get, "key", lambda: Made(load(), 0)) for _ in range(2)]
        until(lambda: keeper.flights.joined == 1)
        load.may_end.set()
        assert sorted(call.result(PATIENCE).value for call in calls) == [1, 2]

    def test_an_error_reaches_all_that_waited(
        self, keeper: Keeper[Any], threads: ThreadPoolExecutor
    ) -> None:
        error = ValueError("no")
        load = Load(error)
        calls = [threads.submit(keeper.get, "key", lambda: Made(load(), 60)) for _ in range(5)]
        until(lambda: keeper.flights.joined == 4)
        load.may_end.set()
        assert all(call.exception(PATIENCE) is error for call in calls)
        assert load.calls == 1


class TestRenewal:
    def test_a_value_is_renewed_in_the_background_before_its_time_is_up(self, place: Place) -> None:
        begun: list[Callable[[], object]] = []
        keeper: Keeper[Any] = Keeper(place, name="thing", early=10, begin=begun.append)
        ask = Ask(keeper, False)
        ask("a")
        place.time += 49
        assert ask("b").value == "a"
        assert begun == []
        place.time += 1
        assert [ask("b").value for _ in range(5)] == ["a"] * 5
        assert len(begun) == 1  # one caller begins it
        begun.pop()()
        assert ask("c") == Found("b", State.HIT)
        assert begun == []

    def test_a_renewal_that_fails_is_logged_and_tried_again(
        self, place: Place, caplog: pytest.LogCaptureFixture
    ) -> None:
        keeper: Keeper[Any] = Keeper(place, name="thing", early=10)
        ask = Ask(keeper, False)
        ask("a")
        place.time += 55
        assert ask(ValueError("no")).value == "a"
        assert "thing could not be renewed" in caplog.text
        assert ask("b").value == "a"
        assert ask("c").value == "b"

    def test_without_a_thread_to_be_had_the_value_is_served(self, place: Place) -> None:
        def begin(run: Callable[[], object]) -> None:
            raise RuntimeError("can't start new thread")

        keeper: Keeper[Any] = Keeper(place, name="thing", early=10, begin=begin)
        ask = Ask(keeper, False)
        ask("a")
        place.time += 55
        assert [ask("b").value for _ in range(2)] == ["a", "a"]

    def test_for_asyncio_it_is_a_task_that_nobody_need_hold(self, place: Place) -> None:
        keeper: Keeper[Any] = Keeper(place, name="thing", early=10)
        load = Load("b")

        async def make() -> Made[Any]:
            return Made(await load.acall(), 60)

        async def main() -> None:
            assert (await keeper.aget("key", make)).value == "a"
            for _ in range(5):
                assert (await keeper.aget("key", make)).value == "a"
            await auntil(load.started.is_set)
            load.may_end.set()
            await auntil(lambda: place.kept["key"].value == "b")

        place.kept["key"] = Kept("a", place.time - 55, 60)
        asyncio.run(main())
        assert load.calls == 1

    def test_the_task_lives_on_though_nothing_else_refers_to_it(self, place: Place) -> None:
        keeper: Keeper[Any] = Keeper(place, name="thing", early=10)
        futures: list[Any] = []

        async def make() -> Made[Any]:
            future = asyncio.get_running_loop().create_future()
            futures.append(weakref.ref(future))
            return Made(await future, 60)

        async def main() -> None:
            await keeper.aget("key", make)
            await auntil(lambda: bool(futures))
            gc.collect()
            futures[0]().set_result("b")
            await auntil(lambda: place.kept["key"].value == "b")

        place.kept["key"] = Kept("a", place.time - 55, 60)
        asyncio.run(main())

    def test_a_renewal_that_never_began_does_not_stand_in_the_way_for_good(
        self, place: Place
    ) -> None:
        begun: list[Callable[[], object]] = []
        keeper: Keeper[Any] = Keeper(place, name="thing", early=10, begin=begun.append)
        ask = Ask(keeper, False)
        for times in (1, 2):
            ask("a")
            place.time += 55
            for _ in range(3):
                ask("a")
            assert len(begun) == times  # and its thread dies
            place.time += 10

    def test_a_forked_child_renews_what_its_parent_was_renewing(self, place: Place) -> None:
        begun: list[Callable[[], object]] = []
        keeper: Keeper[Any] = Keeper(place, name="thing", early=10, begin=begun.append)
        place.kept["key"] = Kept("a", place.time - 55, 60)
        ask = Ask(keeper, False)
        ask("b")
        keeper.reset()  # what a child does
        ask("b")
        assert len(begun) == 2


async def test_what_a_cancelled_load_still_puts_there_does_not_stay(
    keeper: Keeper[Any], place: Place
) -> None:
    """Somebody may have dropped the key before it arrived."""
    putting, goes_on, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def aput(key: Any, kept: Kept[Any]) -> bool:
        putting.set()
        await goes_on.wait()
        return place.put(key, kept)

    async def adrop(key: Any) -> None:
        place.drop(key)
        if place.kept == {} and goes_on.is_set():
            ended.set()

    place.aput, place.adrop = aput, adrop  # type: ignore[method-assign]

    async def make() -> Made[str]:
        return Made("old", 60)

    load = asyncio.create_task(keeper.aget("k", make))
    await putting.wait()
    load.cancel()
    with pytest.raises(asyncio.CancelledError):
        await load
    await keeper.adrop("k")
    goes_on.set()
    async with asyncio.timeout(PATIENCE):
        await ended.wait()
    assert place.kept == {}


@pytest.mark.parametrize("is_async", [False, True])
def test_a_time_limit_of_celery_is_no_failure_of_the_load(
    place: Place, caplog: pytest.LogCaptureFixture, is_async: bool
) -> None:
    keeper: Keeper[Any] = Keeper(place, name="thing", stale_for=60)
    keeper.get("k", lambda: Made("old", 1))
    place.time += 2

    def make() -> Made[Any]:
        raise SoftTimeLimitExceeded

    async def amake() -> Made[Any]:
        raise SoftTimeLimitExceeded

    with pytest.raises(SoftTimeLimitExceeded):
        asyncio.run(keeper.aget("k", amake)) if is_async else keeper.get("k", make)  # type: ignore[unused-coroutine]
    assert caplog.text == ""
