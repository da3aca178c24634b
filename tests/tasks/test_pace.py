"""How many jobs of a task go to a process of the pool at once."""

import pytest

from redis_optimizer.tasks.pace import MOMENT, MOST, Pace


@pytest.fixture
def pace() -> Pace:
    return Pace()


def test_one_of_a_task_that_was_not_seen_yet(pace: Pace) -> None:
    pace.note("other", 0)
    assert pace.size("task") == 1


def test_as_many_as_take_a_moment(pace: Pace) -> None:
    pace.note("task", MOMENT / 8)
    assert pace.size("task") == 8


def test_never_more_than_a_bound(pace: Pace) -> None:
    pace.note("task", 0)
    assert pace.size("task") == MOST


def test_a_slow_one_is_believed_at_once_and_quick_ones_little_by_little(pace: Pace) -> None:
    pace.note("task", MOMENT / 100)
    pace.note("task", 2 * MOMENT)
    sizes = [pace.size("task")]
    for _ in range(4):
        pace.note("task", 0)
        sizes.append(pace.size("task"))
    assert sizes == [1, 1, 2, 4, 8]
