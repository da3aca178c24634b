"""What the judges of a soak call a violation."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from .__main__ import names
from .faults import FAULTS, OF_SERVERS, deal
from .jobs import Call, Outcome, Sent, judge
from .plan import Plan
from .report import Report
from .run import BOUNDS, THROTTLE
from .site.ledger import Run
from .versions import Tally, Versions

KEY = ("default", 1)


def written(*acked_at: float) -> Versions:
    """Return the versions of a key that was written then, with a bound of 3 seconds."""
    versions = Versions({"default": 3.0})
    for at in acked_at:
        versions.acknowledge(KEY, versions.begin(KEY), at)
    return versions


def test_what_was_replaced_may_be_read_within_the_bound_and_no_longer() -> None:
    versions = written(10, 20)
    versions.judge(KEY, 1, began=22.9)
    assert versions.tallies["default"] == Tally(reads=1, late=1, oldest=pytest.approx(2.9))
    versions.judge(KEY, 1, began=23.1)
    assert versions.tallies["default"].beyond == 1


def test_it_is_replaced_by_the_first_write_after_it() -> None:
    versions = written(10, 20, 29)
    versions.judge(KEY, 1, began=30)
    assert versions.tallies["default"].oldest == 10
    versions.judge(KEY, 3, began=99)
    assert versions.tallies["default"].beyond == 1


def test_a_write_that_failed_may_be_seen_and_makes_nothing_stale() -> None:
    versions = written(10)
    failed = versions.begin(KEY)
    versions.judge(KEY, 1, began=99)
    versions.acknowledge(KEY, versions.begin(KEY), 100)
    versions.judge(KEY, failed, began=999)
    assert versions.tallies["default"] == Tally(reads=2)


def test_what_is_absent_is_not_stale_and_what_nobody_wrote_is_told() -> None:
    versions = written(10)
    versions.judge(KEY, None, began=99)
    versions.judge(KEY, 2, began=99)
    assert versions.tallies["default"] == Tally(reads=2, absent=1, unknown=1)


def ran(*runs: tuple[str, str, float, float | None]) -> list[Run]:
    """Return the ledger of runs: job, key, beginning, end."""
    return [
        Run(job, key, what, at)
        for job, key, began, ended in runs
        for what, at in (("begin", began), ("end", ended))
        if at is not None
    ]


def test_a_job_that_was_promised_and_never_ran_is_lost() -> None:
    sent = Sent({"a": 1, "b": 1}, once=[Call(0, 1, "k", "c")])
    outcome = judge(sent, ran(("a", "-", 1, None), ("a", "-", 2, None)), THROTTLE)
    assert (outcome.sent, outcome.lost, outcome.again) == (3, ["b", "c"], 1)
    assert outcome.messages == 2


def test_jobs_of_one_batch_are_one_message() -> None:
    sent = Sent({"a-batched": 1.0, "b-batched": 1.4, "c-batched": 2.0, "d-single": 1.0})
    assert judge(sent, [], THROTTLE).messages == 3


def test_a_message_of_each_worker_may_be_lost_when_its_connection_breaks() -> None:
    jobs = Outcome(9, ["x", "y"], 2, 0, 0, 0)
    assert report(jobs=jobs, on_the_way=2).violations == []
    assert len(report(jobs=jobs, on_the_way=1).violations) == 1
    breaking = [f for f, _ in zip(deal(FAULTS, 5), FAULTS, strict=False) if f.breaks_jobs]
    assert {fault.name for fault in breaking} == {"kill", "restart", "cut", "kill_clients"}


def test_jobs_of_one_key_must_not_run_side_by_side() -> None:
    apart = ran(("a", "k", 1, 2), ("b", "k", 2.1, 3), ("c", "other", 1, 3))
    assert judge(Sent(), apart, THROTTLE).overlaps == 0
    assert judge(Sent(), ran(("a", "k", 1, 2), ("b", "k", 1.9, 3)), THROTTLE).overlaps == 1


def test_a_job_that_is_delivered_again_is_no_duplicate() -> None:
    again = ran(("a", "k", 1, 2), ("b", "k", 3, 4), ("a", "k", 3, 4))
    assert judge(Sent(), again, THROTTLE).overlaps == 0


def test_a_window_accepts_one_job() -> None:
    first, same = Call(0, 0.1, "k", "a"), Call(1, 1.1, "k", "a")
    assert judge(Sent(throttled=[first, same, Call(1.5, 1.9, "k", "b")]), [], 2).crowded == 1
    # Accepted at the end of the call, perhaps: nobody knows better.
    assert judge(Sent(throttled=[first, same, Call(1.5, 2.1, "k", "b")]), [], 2).crowded == 0
    assert judge(Sent(throttled=[first, Call(0, 1, "other", "b")]), [], 2).crowded == 0


GOOD = Outcome(sent=9, lost=[], messages=0, again=2, overlaps=0, crowded=0)


def report(**options: object) -> Report:
    return Report(Plan(), BOUNDS, {"throttle": THROTTLE}, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "violation"),
    [
        ({"tallies": {"pages": Tally(beyond=2, oldest=14)}}, "2 reads of pages were older"),
        ({"tallies": {"default": Tally(unknown=1)}}, "1 reads of default returned what nobody"),
        ({"jobs": Outcome(9, ["x"], 1, 0, 0, 0)}, "1 jobs were lost"),
        ({"jobs": Outcome(9, [], 0, 0, 1, 0)}, "1 jobs ran beside"),
        ({"jobs": Outcome(9, [], 0, 0, 0, 1)}, "1 jobs were accepted"),
        ({"growth": {"web (1)": 8.1}}, "web (1) grew by 8.1 MiB"),
        ({"connections": {"cache": (20, 25)}}, "cache has 25 connections"),
        ({"threads": {"web (1)": (6, 7)}}, "web (1) has 7 threads"),
        ({"locks": ["a"]}, "locks are left"),
        ({"exits": {"web": None}}, "processes did not end"),
        ({"exits": {"web": 3}}, "processes ended with {'web': 3}"),
        ({"restarts": {"web": 2, "worker-0": 1}}, "web ended by itself, 2 times"),
        ({"left": [7]}, "processes are left: [7]"),
        ({"broken": ["a visitor ended"]}, "a visitor ended"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_each_limit_is_reported(options: dict[str, object], violation: str) -> None:
    (found,) = report(**options).violations
    assert found.startswith(violation)
    assert f"VIOLATION: {violation}" in str(report(**options))


def test_a_good_soak_violates_nothing() -> None:
    good = report(
        jobs=GOOD,
        tallies={"default": Tally(reads=9, late=3, oldest=2.9)},
        growth={"web (1)": 7.9},
        connections={"cache": (20, 24)},
        exits={"web": 0},
    )
    assert good.violations == []
    assert good.as_dict()["violations"] == []
    assert "0 lost of 9" in str(good)


def test_all_faults_come_before_one_comes_again_and_the_seed_says_how() -> None:
    dealt = deal(FAULTS, 5)
    first, second = ([next(dealt) for _ in FAULTS] for _ in range(2))
    assert {fault.name for fault in first} == {fault.name for fault in second} == set(FAULTS)
    assert [fault for fault, _ in zip(deal(FAULTS, 5), FAULTS, strict=False)] == first
    assert [fault for fault, _ in zip(deal(FAULTS, 6), FAULTS, strict=False)] != first
    for fault in first:
        assert fault.targets == OF_SERVERS.get(fault.name, (None, ("site",)))[1]


def test_a_fault_that_does_not_exist_is_named() -> None:
    assert names("kill,freeze") == ("kill", "freeze")
    with pytest.raises(argparse.ArgumentTypeError, match="no such fault: fire"):
        names("kill,fire")


def test_the_site_has_the_bounds_that_it_is_held_to(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("CACHE", "BROKER"):
        monkeypatch.setenv(f"SOAK_{name}_URL", "redis://127.0.0.1:1/0")
    from .site import settings

    strict, pages = (settings.CACHES[alias]["OPTIONS"]["L1"] for alias in BOUNDS)
    assert strict["MAX_STALENESS"] == BOUNDS["default"]
    assert pages["MAX_STALENESS"] + pages["STALE_IF_ERROR"] == BOUNDS["pages"]
    assert settings.THROTTLE == THROTTLE
    assert settings.DEDUP_TTL > settings.VISIBILITY
