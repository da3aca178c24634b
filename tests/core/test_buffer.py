"""A buffer says when its jobs should leave, and lets none of them go astray."""

from math import inf

import pytest

from redis_optimizer.core.backoff import JITTER
from redis_optimizer.core.buffer import JobBuffer


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.time = 100.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


def take(buffer: JobBuffer[str]) -> list[tuple[str, str, int]]:
    batch = buffer.batch()
    buffer.take(batch)
    return batch


def make(
    clock: Clock, size: int = 3, max_bytes: int = 1_000, delay: float = 0.0, spread: float = 0.5
) -> JobBuffer[str]:
    return JobBuffer(
        size=size,
        max_bytes=max_bytes,
        timeout=2.0,
        delay=delay,
        now=clock,
        spread=lambda: spread,
    )


def fill(buffer: JobBuffer[str], ids: str, size: int = 10) -> None:
    for id in ids:
        buffer.add(id, id.upper(), size)


def ids(taken: list[tuple[str, str, int]]) -> str:
    return "".join(id for id, _, _ in taken)


def test_jobs_leave_in_the_order_in_which_they_came(clock: Clock) -> None:
    buffer = make(clock)
    fill(buffer, "abc")
    assert take(buffer) == [("a", "A", 10), ("b", "B", 10), ("c", "C", 10)]
    assert len(buffer) == 0
    assert buffer.bytes == 0


def test_without_jobs_nothing_is_due(clock: Clock) -> None:
    buffer = make(clock)
    assert buffer.due == inf
    assert take(buffer) == []


def test_jobs_are_due_when_the_oldest_has_waited(clock: Clock) -> None:
    buffer = make(clock)
    fill(buffer, "a")
    clock.time += 1
    fill(buffer, "b")
    assert buffer.due == 102.0
    assert not buffer.is_full


@pytest.mark.parametrize("limit", [{"size": 2}, {"max_bytes": 20}])
def test_enough_of_them_are_due_once_they_are_left_here(
    clock: Clock, limit: dict[str, int]
) -> None:
    buffer = make(clock, **limit)
    fill(buffer, "a")
    buffer.leave()  # there are not enough
    fill(buffer, "b")
    assert buffer.is_full
    assert buffer.due == clock.time + 2.0
    buffer.leave()
    assert buffer.due <= clock.time


def test_what_is_left_after_a_batch_is_due_while_it_is_a_full_one(clock: Clock) -> None:
    buffer = make(clock)
    fill(buffer, "abcdefgh")
    buffer.leave()
    take(buffer)
    assert buffer.due <= clock.time
    take(buffer)
    fill(buffer, "i")
    assert buffer.is_full
    assert buffer.due == clock.time + 2.0


def test_no_more_than_the_size_leave_together(clock: Clock) -> None:
    buffer = make(clock)
    fill(buffer, "abcde")
    assert ids(take(buffer)) == "abc"
    assert ids(take(buffer)) == "de"


def test_no_more_than_the_bytes_leave_together(clock: Clock) -> None:
    buffer = make(clock, max_bytes=25)
    fill(buffer, "abc")
    assert ids(take(buffer)) == "ab"
    assert buffer.bytes == 10


def test_a_job_with_more_bytes_than_that_leaves_alone(clock: Clock) -> None:
    buffer = make(clock, max_bytes=25)
    fill(buffer, "a", size=100)
    fill(buffer, "b")
    assert ids(take(buffer)) == "a"
    assert ids(take(buffer)) == "b"


def test_a_job_may_be_taken_out(clock: Clock) -> None:
    buffer = make(clock)
    fill(buffer, "ab")
    assert buffer.remove("a") == "A"
    assert buffer.remove("a") is None
    assert "a" not in buffer
    assert buffer.bytes == 10
    assert ids(take(buffer)) == "b"


def test_what_could_not_leave_comes_first_the_next_time(clock: Clock) -> None:
    buffer = make(clock)
    fill(buffer, "ab")
    taken = take(buffer)
    fill(buffer, "c")
    buffer.give_back(taken)
    assert buffer.bytes == 30
    assert ids(take(buffer)) == "abc"


def test_two_departures_are_apart_by_the_delay(clock: Clock) -> None:
    buffer = make(clock, delay=5.0)
    fill(buffer, "abc")
    assert not buffer.is_held
    take(buffer)
    buffer.sent()
    fill(buffer, "def")
    buffer.leave()
    assert buffer.is_held
    assert buffer.due == clock.time + 5.0


@pytest.mark.parametrize(("spread", "share"), [(0.0, 1 - JITTER), (1.0, 1 + JITTER)])
def test_the_delay_is_a_little_longer_or_shorter_each_time(
    clock: Clock, spread: float, share: float
) -> None:
    buffer = make(clock, delay=5.0, spread=spread)
    fill(buffer, "a")
    take(buffer)
    buffer.sent()
    fill(buffer, "bcd")
    buffer.leave()
    assert buffer.due == pytest.approx(clock.time + 5.0 * share)


def test_the_delay_may_be_cut_short(clock: Clock) -> None:
    buffer = make(clock, delay=5.0)
    fill(buffer, "a")
    take(buffer)
    buffer.sent()
    fill(buffer, "bcd")
    buffer.leave()
    buffer.release()
    assert not buffer.is_held
    assert buffer.due <= clock.time


def test_what_could_not_leave_is_due_at_once(clock: Clock) -> None:
    buffer = make(clock)
    fill(buffer, "a")
    buffer.give_back(take(buffer))
    assert buffer.due <= clock.time


def test_what_somebody_waits_for_is_due_and_what_comes_after_it_is_not(clock: Clock) -> None:
    buffer = make(clock)
    buffer.expect()  # there is nothing
    fill(buffer, "a")
    assert buffer.due == clock.time + 2.0
    buffer.expect()
    assert buffer.due <= clock.time
    take(buffer)
    fill(buffer, "b")
    assert buffer.due == clock.time + 2.0


def test_in_a_hurry_nothing_is_waited_for(clock: Clock) -> None:
    buffer = make(clock, delay=5.0)
    fill(buffer, "abc")
    take(buffer)
    buffer.sent()
    fill(buffer, "d")
    buffer.hurry()
    assert buffer.due <= clock.time
    take(buffer)
    buffer.sent()
    fill(buffer, "e")
    assert buffer.due <= clock.time


def test_it_names_the_jobs_that_are_here(clock: Clock) -> None:
    buffer = make(clock)
    fill(buffer, "ab")
    assert list(buffer) == ["a", "b"]
