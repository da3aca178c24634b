"""Several processes on the same few keys see what Redis holds, whatever goes wrong."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from .checker import check
from .faults import IN_CLUSTER, SCHEDULE, SHORTEST
from .plan import PLAIN, RAW, TIERED, Plan
from .report import Report

pytestmark = pytest.mark.slow

Lasting = Callable[[float], float]

# How soon an invalidation is heard depends on the processor, which other tests use meanwhile. A run
# by `python -m tests.e2e.checker` holds to one percent.
SHARED = 0.1


@pytest.mark.edges
def test_processes_that_write_the_same_keys_stay_coherent(lasting: Lasting) -> None:
    report = check(Plan(seconds=lasting(4), stale_share=SHARED))
    assert report.violations == []
    # A run that reads nothing, or nothing from memory, proves nothing.
    assert report.total.reads > 10_000
    assert report.writes > 500
    assert report.hit_ratio > 0.3


@pytest.mark.edges
def test_they_stay_coherent_through_cuts_a_freeze_and_restarts(lasting: Lasting) -> None:
    report = check(Plan(seconds=lasting(SHORTEST), faults=True, stale_share=SHARED))
    assert report.violations == []
    assert len(report.faults) == len(SCHEDULE)
    assert next(iter(report.faults.values())) == "4 channels"
    assert report.errors, "nobody noticed the faults"
    assert report.hit_ratio > 0.2


def test_a_mixed_fleet_stays_coherent(lasting: Lasting) -> None:
    report = check(Plan(seconds=lasting(3), roles=(TIERED, TIERED, PLAIN, RAW), stale_share=SHARED))
    assert report.violations == []
    assert report.tallies[PLAIN].reads > 1_000
    assert report.tallies[RAW].reads > 1_000
    assert report.hit_ratio > 0.3


@pytest.mark.edges
def test_a_cluster_stays_coherent_while_slots_move_and_nodes_come_and_go(
    lasting: Lasting,
) -> None:
    plan = Plan(
        roles=(TIERED, TIERED, PLAIN),
        seconds=lasting(8),
        cluster=True,
        faults=True,
        stale_share=SHARED,
    )
    report = check(plan)
    assert report.violations == []
    assert len(report.faults) == len(IN_CLUSTER)
    assert report.total.reads > 2_000
    assert report.writes > 200
    assert report.hit_ratio > 0.1


def starved(mutation: str | None = None) -> Report:
    """Run processes that do not hear, for longer than the bound, what a script writes."""
    return check(
        Plan(
            roles=(TIERED, TIERED, RAW),
            writers=(RAW,),
            seconds=4,
            writes=0.3,
            heartbeat=0.5,
            max_staleness=2,
            deaf=3,
            # A value whose TTL is not known leaves at the age of the bound by itself.
            options={"EXACT_TTL": True},
            mutation=mutation,
        )
    )


def test_a_process_that_does_not_hear_is_stale_up_to_the_bound_and_no_longer() -> None:
    report = starved()
    assert report.violations == []
    assert report.total.max_stale_ms > 500, "it did hear"


def test_the_checker_finds_values_that_outlive_the_bound() -> None:
    report = starved(mutation="no-bound")
    assert report.total.max_stale_ms > 2_000
    assert report.violations


def test_the_checker_finds_fills_without_a_lease() -> None:
    report = check(Plan(seconds=2, delay_share=0.1, mutation="no-lease"))
    assert report.total.own_write_missed > 0
    assert report.violations


def test_the_checker_finds_invalidations_that_are_ignored() -> None:
    report = check(Plan(seconds=2, mutation="no-drop"))
    assert report.total.own_write_missed > 0
    assert report.total.stale_share > 0.1
    assert report.total.max_stale_ms > 500
    assert report.differing
