"""Answers of endpoints are counted by where they came from."""

import os

import pytest

from redis_optimizer.stats import endpoints
from redis_optimizer.stats.endpoints import OTHERS, Endpoint, counts_of, series, totals


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoints, "_endpoints", {})


def test_each_answer_is_of_one_sort() -> None:
    page = counts_of("page")
    for state, joined in (("hit", False), ("hit", True), ("miss", False), ("miss", True)):
        page.add(state, joined=joined)
    page.add("stale")
    counts_of("never asked")
    assert counts_of("page") is page
    assert totals() == {"page": {"hits": 2, "runs": 1, "joined": 1, "stale": 1}}
    assert series() == {"hits": 2, "runs": 1}


def test_names_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoints, "MAX_ENDPOINTS", 2)
    for name in "abcda":
        counts_of(name).add("hit")
    assert {name: seen["hits"] for name, seen in totals().items()} == {"a": 2, "b": 1, OTHERS: 2}


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_begins_with_nothing() -> None:
    page: Endpoint = counts_of("page")
    page.add("hit")
    child = os.fork()
    if not child:
        page.add("hit")
        os._exit(page.hits)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
    assert page.hits == 1
