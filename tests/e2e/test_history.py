"""The judgement of a history: what is a violation, and what may be a matter of order."""

from __future__ import annotations

from math import inf

import pytest

from .history import ABSENT, STRIDE, UNKNOWN, Calls, History, Tally, judge

FIRST, SECOND, THIRD = (number << STRIDE for number in (1, 2, 3))
Call = tuple[float, float, int]


def history(*, writes: tuple[Call, ...] = (), reads: tuple[Call, ...] = ()) -> History:
    """Build what one process did with key 0, from (start, end, value)."""
    result = History()
    for calls, rows in ((result.writes, writes), (result.reads, reads)):
        for start, end, value in rows:
            calls.add(start, end, 0, value)
    return result


def judged(reads: tuple[Call, ...], writes: tuple[Call, ...]) -> Tally:
    """Judge reads of one process when another one wrote."""
    return judge({0: history(reads=reads), 1: history(writes=writes)})[0]


def test_the_latest_value_is_not_stale() -> None:
    tally = judged(reads=((5, 6, SECOND),), writes=((1, 2, FIRST), (3, 4, SECOND)))
    assert tally == Tally(reads=1)


def test_a_value_is_stale_from_the_moment_its_successor_is_acknowledged() -> None:
    writes = ((1, 2, FIRST), (3, 4, SECOND), (5, 9, THIRD))
    tally = judged(reads=((4.0, 4.1, FIRST), (4.5, 4.6, FIRST)), writes=writes)
    assert (tally.stale, tally.max_stale_ms) == (1, 500)


def test_writes_that_overlap_have_no_order() -> None:
    writes = ((1, 3, FIRST), (2, 4, SECOND))
    reads = ((10, 11, FIRST), (10, 11, SECOND))
    assert judged(reads=reads, writes=writes).stale == 0


def test_increments_have_an_order_even_when_they_overlap() -> None:
    writes = ((0, 1, FIRST), (2, 5, FIRST + 1), (2, 4, FIRST + 2))
    tally = judged(reads=((4.5, 4.6, FIRST + 1), (6, 7, FIRST + 2)), writes=writes)
    assert (tally.stale, tally.max_stale_ms) == (1, 500)


def test_a_failed_write_may_be_seen_and_replaces_nothing() -> None:
    writes = ((1, 2, FIRST), (3, inf, SECOND))
    reads = ((10, 11, FIRST), (12, 13, SECOND), (14, 15, FIRST))
    assert judged(reads=reads, writes=writes) == Tally(reads=3)


def test_a_failed_write_may_be_seen_after_a_later_one() -> None:
    writes = ((1, inf, FIRST), (2, 3, SECOND))
    assert judged(reads=((10, 11, FIRST),), writes=writes).stale == 0


def test_a_failed_increment_leaves_a_value_that_nobody_noted() -> None:
    writes = ((1, 2, FIRST), (3, inf, UNKNOWN), (5, 6, FIRST + 2))
    tally = judged(reads=((5.5, 6, FIRST + 1), (7, 8, FIRST + 1)), writes=writes)
    assert (tally.never_written, tally.stale, tally.max_stale_ms) == (0, 1, 1000)


@pytest.mark.parametrize("value", [SECOND, FIRST + 1])
def test_a_value_that_nobody_wrote_is_reported(value: int) -> None:
    assert judged(reads=((5, 6, value),), writes=((1, 2, FIRST),)).never_written == 1


def test_a_key_is_absent_until_its_first_write() -> None:
    tally = judged(reads=((0.1, 0.2, ABSENT), (3, 4, ABSENT)), writes=((1, 2, FIRST),))
    assert (tally.stale, tally.max_stale_ms) == (1, 1000)


def test_a_key_is_absent_after_a_delete_until_the_next_write() -> None:
    writes = ((1, 2, FIRST), (3, 4, ABSENT), (6, 7, SECOND))
    reads = ((3.1, 3.2, ABSENT), (5, 5.1, ABSENT), (6.5, 6.6, ABSENT), (7.5, 7.6, ABSENT))
    tally = judged(reads=reads, writes=writes)
    assert (tally.stale, tally.max_stale_ms) == (1, 500)


def test_a_value_is_stale_after_a_delete() -> None:
    assert judged(reads=((5, 6, FIRST),), writes=((1, 2, FIRST), (3, 4, ABSENT))).stale == 1


def test_a_later_delete_does_not_explain_an_absent_key() -> None:
    writes = ((1, 2, FIRST), (10, 11, ABSENT))
    assert judged(reads=((5, 6, ABSENT),), writes=writes).stale == 1


def test_a_read_misses_an_own_write_only_in_the_process_that_wrote() -> None:
    reads = ((5, 6, FIRST),)
    tallies = judge(
        {
            0: history(writes=((1, 2, FIRST),)),
            1: history(writes=((3, 4, SECOND),), reads=reads),
            2: history(reads=reads),
        }
    )
    assert [tally.stale for tally in tallies.values()] == [0, 1, 1]
    assert [tally.own_write_missed for tally in tallies.values()] == [0, 1, 0]


def test_a_read_that_began_before_the_acknowledgement_misses_nothing() -> None:
    own = history(writes=((1, 2, FIRST), (3, 4, SECOND)), reads=((3.5, 5, FIRST),))
    assert judge({0: own})[0] == Tally(reads=1)


def test_keys_are_judged_apart() -> None:
    one = history(writes=((1, 2, FIRST),))
    one.writes.add(3, 4, 1, SECOND)
    one.reads.add(5, 6, 0, FIRST)
    one.reads.add(5, 6, 1, SECOND)
    assert judge({0: one})[0] == Tally(reads=2)


def test_calls_of_several_threads_are_joined() -> None:
    one, other = Calls(), Calls()
    one.add(1, 2, 3, 4)
    other.add(5, 6, 7, 8)
    one.extend(other)
    assert list(one) == [(1, 2, 3, 4), (5, 6, 7, 8)]
