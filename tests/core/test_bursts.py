"""When the channel waits a moment before it reads again."""

from redis_optimizer.core.bursts import FEWEST, FIRST, MOST, PAUSE, WITHIN, Bursts


def come(bursts: Bursts, *, gap: float, times: int = FIRST, at: float = 100.0) -> None:
    for number in range(times):
        bursts.came(at + number * gap)


def test_a_few_messages_are_no_burst() -> None:
    bursts = Bursts()
    assert not bursts.is_on
    come(bursts, gap=0, times=FIRST - 1)
    assert not bursts.is_on


def test_many_in_a_short_time_are() -> None:
    bursts = Bursts()
    come(bursts, gap=WITHIN / FIRST)
    assert bursts.is_on


def test_many_in_a_long_time_are_not() -> None:
    bursts = Bursts()
    come(bursts, gap=WITHIN, times=100)
    assert not bursts.is_on


def test_a_burst_goes_on_while_a_pause_brings_several() -> None:
    bursts = Bursts()
    come(bursts, gap=0)
    for _ in range(3):
        bursts.taken(FEWEST)
        assert bursts.is_on
    bursts.taken(FEWEST - 1)
    assert not bursts.is_on


def test_after_a_burst_it_takes_as_many_for_the_next() -> None:
    bursts = Bursts()
    come(bursts, gap=0)
    bursts.taken(0)
    come(bursts, gap=0, times=FIRST - 1)
    assert not bursts.is_on
    bursts.came(100.0)
    assert bursts.is_on


def test_what_was_left_behind_is_taken_without_a_pause() -> None:
    bursts = Bursts()
    come(bursts, gap=0)
    assert bursts.pause == PAUSE
    bursts.taken(MOST)
    assert (bursts.is_on, bursts.pause) == (True, 0)
    bursts.taken(MOST - 1)
    assert (bursts.is_on, bursts.pause) == (True, PAUSE)
