"""The breaker: when it opens, whom it lets through, and what closes it."""

from __future__ import annotations

import random
from typing import Any

import pytest

from redis_optimizer.core.breaker import LONGEST, PROBE_LIMIT, Breaker

from .stores import Clock


class Told:
    """What a breaker told, and the probes that it began."""

    def __init__(self) -> None:
        self.probes = 0
        self.can_probe = True
        self.opened: list[str] = []
        self.closed: list[tuple[float, int]] = []

    def probe(self) -> bool:
        self.probes += self.can_probe
        return self.can_probe


@pytest.fixture
def clock() -> Clock:
    """Return the breaker's clock."""
    return Clock()


@pytest.fixture
def told() -> Told:
    """Return what the breaker tells."""
    return Told()


@pytest.fixture
def breaker(clock: Clock, told: Told) -> Breaker:
    """Return a breaker that opens after 3 failures."""
    return Breaker(
        3,
        probe=told.probe,
        on_open=told.opened.append,
        on_close=lambda *how: told.closed.append(how),
        now=clock,
        spread=lambda: 0.5,
    )


def fail(breaker: Breaker, times: int = 1) -> None:
    """Let calls fail that begin now."""
    for _ in range(times):
        breaker.fail(breaker.now(), "gone")


class TestOpening:
    def test_it_opens_after_failures_in_a_row(self, breaker: Breaker, told: Told) -> None:
        fail(breaker, 2)
        assert breaker.state == "closed"
        assert breaker.admits()
        fail(breaker)
        assert breaker.state == "open"
        assert not breaker.admits()
        assert told.opened == ["gone"]

    def test_an_answer_between_them_begins_the_count_anew(
        self, breaker: Breaker, clock: Clock
    ) -> None:
        for _ in range(5):
            fail(breaker, 2)
            breaker.succeed()
            clock.advance(1)
        assert breaker.state == "closed"

    def test_a_slow_command_among_others_that_are_answered_does_not_count(
        self, breaker: Breaker, clock: Clock
    ) -> None:
        for _ in range(5):
            began = clock()
            clock.advance(1)
            breaker.succeed()
            clock.advance(4)
            breaker.fail(began, "timed out")
        assert breaker.state == "closed"

    def test_failures_may_be_far_apart(self, breaker: Breaker, clock: Clock) -> None:
        """A frozen server takes the timeout of each call to fail."""
        for _ in range(3):
            fail(breaker)
            clock.advance(60)
        assert breaker.state == "open"

    def test_it_tells_once(self, breaker: Breaker, told: Told) -> None:
        fail(breaker, 20)  # those that were under way when it opened
        assert told.opened == ["gone"]


class TestOpen:
    @pytest.fixture(autouse=True)
    def _is_open(self, breaker: Breaker) -> None:
        fail(breaker, 3)

    def test_a_probe_follows_after_half_a_second(
        self, breaker: Breaker, clock: Clock, told: Told
    ) -> None:
        clock.advance(0.49)
        assert not breaker.admits()
        assert told.probes == 0
        clock.advance(0.02)
        assert not breaker.admits(), "the probe is made in the background"
        assert told.probes == 1
        assert breaker.state == "half-open"

    def test_there_is_one_probe_at_a_time(self, breaker: Breaker, clock: Clock, told: Told) -> None:
        clock.advance(1)
        assert not any(breaker.admits() for _ in range(10))
        assert told.probes == 1

    def test_each_probe_that_fails_makes_the_wait_longer(
        self, breaker: Breaker, clock: Clock, told: Told
    ) -> None:
        waits = []
        for _ in range(7):
            began, before = clock(), told.probes
            while told.probes == before:
                clock.advance(0.125)
                breaker.admits()
            waits.append(clock() - began)
            fail(breaker)
            assert breaker.state == "open"
        assert waits == [0.5, 1, 2, 4, LONGEST, LONGEST, LONGEST]

    def test_a_probe_that_succeeds_closes_it(
        self, breaker: Breaker, clock: Clock, told: Told
    ) -> None:
        for _ in range(4):
            breaker.admits()
        clock.advance(1)
        breaker.admits()
        breaker.succeed()
        assert breaker.state == "closed"
        assert breaker.admits()
        assert told.closed == [(1, 5)]

    def test_so_does_any_answer(self, breaker: Breaker, told: Told) -> None:
        breaker.succeed()
        assert breaker.state == "closed"
        assert told.closed == [(0, 0)]

    def test_calls_that_began_before_it_closed_do_not_open_it_again(
        self, breaker: Breaker, clock: Clock
    ) -> None:
        began = clock()
        clock.advance(1)
        breaker.succeed()
        for _ in range(5):
            breaker.fail(began, "timed out")
        assert breaker.state == "closed"

    def test_it_opens_again_after_as_many_failures(self, breaker: Breaker, clock: Clock) -> None:
        breaker.succeed()
        clock.advance(1)
        fail(breaker, 2)
        assert breaker.state == "closed"
        fail(breaker)
        assert breaker.state == "open"
        assert breaker.refused == 0

    def test_where_no_thread_can_be_had_the_caller_asks(
        self, breaker: Breaker, clock: Clock, told: Told
    ) -> None:
        told.can_probe = False
        clock.advance(1)
        assert breaker.admits()
        assert not breaker.admits(), "one at a time"
        breaker.succeed()
        assert breaker.state == "closed"

    def test_where_a_probe_never_comes_back_a_caller_asks(
        self, breaker: Breaker, clock: Clock
    ) -> None:
        clock.advance(1)
        assert not breaker.admits()
        clock.advance(PROBE_LIMIT)
        assert breaker.admits()
        assert not breaker.admits(), "one at a time"

    def test_it_is_closed_without_a_word(self, breaker: Breaker, clock: Clock, told: Told) -> None:
        clock.advance(1)
        assert not breaker.admits()
        breaker.forget()
        assert breaker.state == "closed"
        assert breaker.admits()
        fail(breaker)  # the probe that was under way: one failure like any other
        assert breaker.state == "closed"
        assert told.closed == []

    def test_a_forked_child_begins_with_a_closed_one(self, breaker: Breaker) -> None:
        breaker.reset()
        assert breaker.state == "closed"
        assert breaker.admits()


@pytest.mark.parametrize("seed", range(10))
def test_any_history(seed: int) -> None:
    """Let a server come and go, and compare with what its callers know."""
    chance = random.Random(seed)
    clock, told = Clock(), Told()
    breaker = Breaker(3, probe=told.probe, now=clock, spread=chance.random)
    is_up, asked_in_vain, probing = True, 0, 0
    down_since: Any = None
    for _ in range(2000):
        clock.advance(chance.choice([0.01, 0.1, 1]))
        if chance.random() < 0.02:
            is_up, asked_in_vain = not is_up, 0
            down_since = None if is_up else clock()
        probes = told.probes
        admitted = breaker.admits()
        if told.probes > probes:
            probing += 1
        if probing and chance.random() < 0.5:
            probing = 0
            breaker.succeed() if is_up else breaker.fail(clock(), "probe")
        if admitted and is_up:
            breaker.succeed()
            assert breaker.state == "closed"
        elif admitted:
            breaker.fail(clock(), "gone")
            asked_in_vain += 1
            # Three, and where a probe did not come back, one for each.
            assert asked_in_vain <= 3 + (clock() - down_since) / PROBE_LIMIT
    clock.advance(PROBE_LIMIT + LONGEST)
    for _ in range(2):  # whatever it was, a server that is up is found
        if breaker.admits() or told.probes:
            breaker.succeed()
    assert breaker.state == "closed"
