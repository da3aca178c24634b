"""A site under load keeps what it promises while everything goes wrong once."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from .faults import FAULTS
from .plan import Plan
from .run import BOUNDS, soak


@pytest.mark.slow
@pytest.mark.minutes
def test_a_site_survives_every_fault(tmp_path: Path) -> None:
    seed = random.SystemRandom().randrange(10**6)
    plan = Plan(minutes=len(FAULTS) * Plan.every / 60, seed=seed)
    report = soak(plan, tmp_path)
    print(report)
    assert report.violations == [], str(report)
    # A run in which nothing is read or sent, or nothing goes wrong, proves nothing.
    assert {name.partition("(")[0] for _, name in report.faults} == set(FAULTS)
    assert all(report.tallies[alias].reads > 1000 for alias in BOUNDS)
    assert report.jobs is not None
    assert report.jobs.sent > 500
    assert report.writes > 200
    assert any("Unavailable" in answer for answer in report.answers)
