"""The limits that a run is held to."""

from __future__ import annotations

from collections import Counter

import pytest

from .history import Tally
from .plan import PLAIN, TIERED, Plan
from .report import Report

GOOD = Tally(reads=1000, stale=9, max_stale_ms=2999)


def test_a_run_within_the_limits_violates_nothing() -> None:
    report = Report(Plan(), tallies={TIERED: GOOD, PLAIN: Tally(reads=1000)}, writes=100)
    assert report.violations == []


@pytest.mark.parametrize(
    ("tally", "violation"),
    [
        (Tally(reads=1000, stale=10), "1.00% of the reads of tiered were stale"),
        (Tally(reads=1000, stale=1, max_stale_ms=3001), "a read was 3001 ms stale"),
        (Tally(reads=1000, own_write_missed=1), "1 reads missed a write of their own process"),
        (Tally(reads=1000, never_written=1), "1 reads returned what nobody wrote"),
    ],
    ids=["share", "bound", "own write", "never written"],
)
def test_each_limit_is_reported(tally: Tally, violation: str) -> None:
    assert Report(Plan(), tallies={TIERED: tally}).violations == [violation]


def test_an_entry_that_differs_from_redis_is_reported() -> None:
    report = Report(Plan(), tallies={TIERED: GOOD}, differing=["k1: 1, stored 2"])
    assert report.violations == ["1 entries differ from Redis: ['k1: 1, stored 2']"]


def test_a_cache_that_keeps_nothing_is_never_stale() -> None:
    [violation] = Report(Plan(), tallies={PLAIN: Tally(reads=1000, stale=1)}).violations
    assert violation == "plain keeps nothing, but 1 of its reads were stale"


def test_an_outage_is_no_violation_in_a_run_with_faults() -> None:
    errors = Counter({"ConnectionError": 5})
    assert Report(Plan(faults=True), errors=errors).violations == []
    assert Report(Plan(), errors=errors).violations == ["calls failed: {'ConnectionError': 5}"]


def test_another_error_is_a_violation_even_then() -> None:
    errors = Counter({"ConnectionError": 5, "TypeError": 1})
    assert Report(Plan(faults=True), errors=errors).violations == ["calls failed: {'TypeError': 1}"]
