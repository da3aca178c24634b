"""The benchmark of growth: every size is measured, and what is counted is the server's count."""

import io
import json
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from redis_optimizer.management.benchmark.growth.report import Curve


def run(**options: Any) -> dict[str, Any]:
    out = io.StringIO()
    call_command(
        "redis_optimizer_benchmark", "growth", stdout=out, verbosity=0, json=True, **options
    )
    return {curve["title"]: curve["points"] for curve in json.loads(out.getvalue())["curves"]}


@pytest.mark.slow
def test_every_size_is_measured() -> None:
    found = run(processes=2, requests=300, keys=2000, jobs=20)
    fleets, hits, jobs, questions = found.values()
    assert {size: each["django-redis"] for size, each in fleets.items()} == {"1": 1000, "2": 1000}
    assert 0 < fleets["2"]["TieredCache"] < 1000
    assert list(hits) == ["1000", "2000"]
    assert list(hits["2000"]) == ["the same 1,000", "any of them", "a dict, any"]
    assert list(jobs) == ["1", "10", "20"]
    # The question and its INFO, and an answer of each process, the one that asks included.
    assert {size: each["commands"] for size, each in questions.items()} == {"1": 4, "2": 5}


def test_a_number_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(CommandError, match="--keys must lie between 1,000 and"):
        run(keys=0)


def test_a_curve_tells_how_each_size_compares_with_the_first() -> None:
    curve = Curve("Hits", "keys", "us", "stay the same", {10: {"ours": 0.5}, 100: {"ours": 0.75}})
    head, columns, *lines = curve.as_text()
    assert head == "Hits, in us; it should stay the same"
    assert columns.split() == ["keys", "ours", "of", "the", "first"]
    assert [line.split() for line in lines] == [["10", "0.5", "1.00"], ["100", "0.75", "1.50"]]
    chart = curve.as_chart()
    assert (chart.places, chart.lines) == ([10, 100], {"ours": [0.5, 0.75]})
