"""Rates are what all processes together counted between two looks."""

from typing import Any

from redis_optimizer.stats.gathered import Gathered, Process
from redis_optimizer.stats.rates import RATES, rates


def look(**totals: dict[str, Any]) -> Gathered:
    return Gathered([Process({"id": id}, each, None, 0.0) for id, each in totals.items()])


def test_growth_is_added_up_over_caches_and_processes() -> None:
    before = look(
        a={"caches": {"x": {"hits": 10}, "y": {"hits": 5}}, "jobs": {"sent": 0}},
        b={"caches": {"x": {"hits": 100}}},
    )
    after = look(
        a={"caches": {"x": {"hits": 14}, "y": {"hits": 7}, "z": {"hits": 4}}, "jobs": {"sent": 5}},
        b={"caches": {"x": {"hits": 110}}},
    )
    found = rates(before, after, 2.0)
    assert (found["hits"], found["jobs_sent"], found["commands_sent"]) == (10.0, 2.5, 0.0)
    assert found.keys() == RATES.keys()


def test_a_process_that_came_went_or_began_anew_takes_nothing_off() -> None:
    before = look(a={"commands": {"sent": 100}}, gone={"commands": {"sent": 50}})
    after = look(a={"commands": {"sent": 3}}, came={"commands": {"sent": 80}})
    assert rates(before, after, 1.0)["commands_sent"] == 0.0


def test_other_forms_count_nothing() -> None:
    strange: list[Any] = [{"caches": 7}, {"caches": {"x": "y"}}, {"caches": {"x": {"hits": "1"}}}]
    for totals in strange:
        assert rates(look(a=totals), look(a=totals), 1.0)["hits"] == 0.0
