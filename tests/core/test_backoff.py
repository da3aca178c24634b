"""What has failed is left alone, each time for longer."""

from math import inf

import pytest

from redis_optimizer.core.backoff import FIRST, JITTER, LONGEST, Backoff


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.time = 100.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_without_a_failure_there_is_nothing_to_wait_for(clock: Clock) -> None:
    backoff = Backoff(now=clock)
    assert not backoff.is_waiting
    assert backoff.until == -inf


def test_each_wait_is_longer_up_to_the_longest(clock: Clock) -> None:
    backoff = Backoff(now=clock, spread=lambda: 0.5)
    waits = []
    for _ in range(8):
        backoff.fail()
        assert backoff.is_waiting
        waits.append(backoff.until - clock.time)
        clock.time = backoff.until
        assert not backoff.is_waiting
    assert waits[:3] == [FIRST, 2 * FIRST, 4 * FIRST]
    assert waits[-1] == LONGEST
    assert backoff.failures == 8


def test_a_success_ends_it(clock: Clock) -> None:
    backoff = Backoff(now=clock)
    backoff.fail()
    backoff.succeed()
    assert not backoff.is_waiting
    assert backoff.failures == 0


@pytest.mark.parametrize(("chance", "share"), [(0.0, 1 - JITTER), (1.0, 1 + JITTER)])
def test_a_wait_is_a_little_longer_or_shorter(clock: Clock, chance: float, share: float) -> None:
    backoff = Backoff(now=clock, spread=lambda: chance)
    backoff.fail()
    assert backoff.until == pytest.approx(clock.time + FIRST * share)


def test_in_a_hurry_it_is_short(clock: Clock) -> None:
    backoff = Backoff(now=clock, spread=lambda: 0.5)
    backoff.fail()
    backoff.hurry(0.1)
    assert not backoff.is_waiting
    backoff.fail()
    assert backoff.until == pytest.approx(clock.time + 0.1)
