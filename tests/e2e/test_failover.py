"""Caches under Sentinel, whose primary is killed, frozen, or replaced while it lives."""

from __future__ import annotations

import pytest

from tests.cache.caches import QUICK

from .failover import FAILURES, PUBLISH, Outcome, run
from .failover_process import Plan

pytestmark = pytest.mark.slow

ATTEMPT = Plan("", [("", 0)] * 3, timeout=1.0, l1={}).attempt


def check(outcome: Outcome, bound: float) -> None:
    assert outcome.stale <= bound, outcome
    assert outcome.hits > 20, outcome  # else nothing could be stale
    # Beside plain django-redis in the same process, which is no sooner but for one attempt.
    assert outcome.away["tiered"] <= outcome.away["plain"] + ATTEMPT, outcome


@pytest.mark.parametrize("failure", sorted(FAILURES.keys() - {"replaced"}))
def test_a_primary_that_is_gone(failure: str) -> None:
    check(run(failure, QUICK), QUICK["MAX_STALENESS"])


def test_a_primary_that_does_not_know_yet_that_it_is_none() -> None:
    # The Sentinel that is asked may be the last to know.
    check(run("replaced", QUICK), QUICK["MAX_STALENESS"] + PUBLISH)
