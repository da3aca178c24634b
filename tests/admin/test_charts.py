"""What the charts are drawn from: steps of the last hour, and where nobody could tell of them."""

from typing import Any

import pytest

from redis_optimizer.core.counters import STEP, STEPS

AT = 1_790_000_005.0  # in a step that is not over
LAST = 1_790_000_000.0  # where the last step ends that is
HISTORY = {
    "step": STEP,
    "begins": LAST - 2 * STEP,
    "series": {
        "commands.sent": [5, 10, 99],
        "commands.avoided": [0, 30, 99],
        "caches.hits": [0, 3, 99],
        "caches.misses": [0, 1, 99],
        "jobs.sent": [7, 0, 99],
        "jobs.sendings": [2, 0, 99],
    },
}


@pytest.fixture
def charts(settings_in_force: None) -> Any:
    from redis_optimizer.admin import charts

    return charts


def test_a_step_is_told_by_the_second_once_it_is_over(charts: Any) -> None:
    found = charts.as_charts(HISTORY, AT, since=0)
    assert found["begins"] + STEPS * found["step"] == LAST
    assert found["sent"][-3:] == [0, 0.5, 1]
    assert found["avoided"][-2:] == [0, 3]
    assert found["ratio"][-2:] == [None, 75]
    assert found["batch"][-2:] == [3.5, None]


@pytest.mark.parametrize(
    ("ago", "untold"),
    [(7200, 0), (25, STEPS - 3), (20, STEPS - 2), (0, STEPS)],
    ids=["long", "amid a step", "at its beginning", "now"],
)
def test_before_the_first_process_nothing_is_drawn(charts: Any, ago: float, untold: int) -> None:
    found = charts.as_charts(HISTORY, AT, since=LAST - ago)
    for name in ("sent", "avoided"):
        assert found[name].count(None) == untold
        assert None not in found[name][untold:]
        assert len(found[name]) == STEPS


def test_the_table_tells_the_same(charts: Any) -> None:
    rows = charts.as_rows(HISTORY, AT, since=LAST - 310)
    assert len(rows) == 12
    assert [rows[0][name] for name in ("sent", "avoided", "ratio", "batch")] == [
        "15",
        "30",
        "75.0\N{NO-BREAK SPACE}%",
        "3.5",
    ]
    assert rows[1]["sent"] == "0"  # it began at the end of these five minutes
    assert rows[2]["sent"] == rows[2]["avoided"] == "-"
