"""The traffic driver notices what is wrong, and the comparison fails then."""

import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError

from example_project.dashboard import redis_optimizer_benchmark as benchmark
from example_project.demo import traffic
from example_project.demo.client import Client, processes
from example_project.demo.commands import split
from example_project.demo.comparison import Comparison, Run, Stop
from example_project.demo.report import table
from example_project.demo.smoke import Smoke
from example_project.demo.traffic import Spread, arrive, drive, follow
from example_project.demo.visitor import MIX, Traffic, Visitor
from example_project.demo.work import Work, wait_done
from redis_optimizer.channel import CLIENT_NAME
from redis_optimizer.management.benchmark.wire import Client as Connection
from redis_optimizer.management.benchmark.wire import Counts
from tests.demo import Demo, needs_demo, running_demo

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """Run the site in two processes, with its sample data."""
    with running_demo(tmp_path_factory.mktemp("site") / "files") as demo:
        yield demo


@pytest.fixture
def operator(site: Demo) -> Visitor:
    """Return a visitor who is logged in."""
    visitor = Visitor(site.client(), seed=1)
    visitor.arrive()
    visitor.log_in("operator1", "demo", 0)
    return visitor


@needs_demo
@pytest.mark.slow
def test_visitors_do_everything_and_find_nothing_wrong(site: Demo) -> None:
    pids = processes(site.port, 2)
    visitors = arrive(site.port, pids)
    assert [visitor.operator for visitor in visitors] == [True] * 4 + [False] * 2
    for visitor in visitors:
        for _ in range(sum(MIX.values())):
            visitor.take_turn()
    seen = drive(visitors, seconds=0.1)
    spread = follow(visitors, pids)
    assert seen.failures == seen.stale == []
    assert seen.changes >= 8
    assert seen.requests["health"] >= 6 * MIX["health"]
    assert (spread.changes, spread.missed, spread.faults) == (24, 0, [])


@needs_demo
@pytest.mark.slow
def test_an_older_state_than_the_own_change_is_stale(operator: Visitor) -> None:
    pk = min(operator.states)
    operator.states[pk] = "a later state"
    operator.own_organisation()
    operator.own_status()
    assert len(operator.traffic.stale) == 2
    assert operator.traffic.failures == []
    assert not operator.is_up_to_date(operator.client)


@needs_demo
@pytest.mark.slow
def test_older_settings_than_the_own_change_are_stale(operator: Visitor) -> None:
    operator.settings["theme"] = "a later theme"
    operator.home()
    operator.open_settings()
    assert len(operator.traffic.stale) == 3  # the settings page shows them twice
    assert operator.traffic.failures == []


@needs_demo
@pytest.mark.slow
def test_a_change_that_is_never_shown_is_missed(
    site: Demo, operator: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(traffic, "DEADLINE", 0.1)
    monkeypatch.setattr(traffic, "ROUNDS", 1)
    operator.states[0] = "paused"  # an integration that no process knows
    monkeypatch.setattr(operator.chance, "choice", lambda options: sorted(options)[-1])
    spread = follow([operator], processes(site.port, 2))
    assert (spread.changes, spread.missed) == (2, 4)
    assert any("older states on the page" in fault for fault in spread.faults)


@needs_demo
@pytest.mark.slow
def test_a_wrong_page_is_a_failure(operator: Visitor) -> None:
    operator.names = dict.fromkeys(operator.names, "another name")
    operator.organisation()
    operator.status()
    operator.home()
    assert len(operator.traffic.failures) == 3
    operator.names = {999999: "nobody"}
    operator.organisation()
    assert any("status 404" in each for each in operator.traffic.failures)


@needs_demo
@pytest.mark.slow
def test_a_wrong_password_is_a_failure(site: Demo) -> None:
    visitor = Visitor(site.client(), seed=1)
    visitor.arrive()
    visitor.log_in("operator1", "wrong", 0)
    assert visitor.traffic.failures == ["operator1 cannot log in"]
    assert not visitor.operator


@needs_demo
@pytest.mark.slow
def test_a_site_that_ends_is_a_failure(site: Demo) -> None:
    visitor = Visitor(site.client(), seed=1)
    visitor.arrive()
    visitor.client.close()
    visitor.client.connection.port = 1
    seen = drive([visitor], seconds=5)
    assert len(seen.failures) == 1
    assert seen.failures[0].startswith("no answer")


class Idler:
    """A visitor whose turns take no time."""

    def __init__(self) -> None:
        self.traffic = Traffic()
        self.turns = 0

    def take_turn(self) -> None:
        self.turns += 1


def test_a_rate_decides_how_many_turns_are_taken() -> None:
    idlers = [Idler(), Idler()]
    drive(idlers, seconds=0.5, rate=40)
    assert [idler.turns for idler in idlers] == [10, 10]


GIVEN = {"seconds": 9.0, "warm_up": 4.0, "rate": 7.0, "processes": 3, "threads": 5}


@needs_demo
def test_the_benchmark_of_the_site_compares_what_it_was_asked_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(benchmark, "prepared", lambda progress, keep: nullcontext("ground"))
    asked: list[Smoke] = []

    def compare(smoke: Smoke, progress: object) -> Comparison:
        asked.append(smoke)
        return GOOD

    monkeypatch.setattr(Smoke, "compare", compare)
    found = benchmark.run(GIVEN, None)
    assert found is GOOD
    (smoke,) = asked
    assert (smoke.seconds, smoke.rate, smoke.workers, smoke.threads) == (9, 7, 3, 5)
    assert smoke.warm_up == 4
    assert benchmark.render(found).startswith("Of 100 turns of a visitor: 8 home, 49 organisation")


def test_a_warm_up_is_shown_with_the_figures() -> None:
    warm = replace(GOOD, warm_up=4)
    assert "The first 4 s, on both sites, are not counted." in benchmark.render(warm)
    assert "the end of a warm-up of 4 s" in table(warm)
    assert warm.as_dict()["warm_up_seconds"] == 4
    assert "not counted" not in benchmark.render(GOOD)
    assert "the first visitor's arrival" in table(GOOD)


@needs_demo
def test_the_benchmark_of_the_site_fails_with_what_was_wrong(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bad = replace(GOOD, optimized=run("optimized", 30, 8, stop=replace(STOP, left=4)))
    monkeypatch.setattr(benchmark, "prepared", lambda progress, keep: nullcontext("ground"))
    monkeypatch.setattr(Smoke, "compare", lambda self, progress: bad)
    with pytest.raises(CommandError, match="4 messages were left"):
        benchmark.run(GIVEN, None)


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """Return a database with the rows that jobs leave: 5 views, and one sync at noon."""
    path = tmp_path / "site.sqlite3"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(
            """
            CREATE TABLE dashboard_usageday (views INTEGER);
            INSERT INTO dashboard_usageday VALUES (2), (3);
            CREATE TABLE dashboard_integration (id INTEGER, last_sync TEXT);
            INSERT INTO dashboard_integration VALUES (7, '2026-01-01 12:00:00'), (8, NULL);
            """
        )
    return path


@pytest.mark.parametrize(
    ("views", "synced", "faults"),
    [
        (5, {}, []),
        (6, {}, ["1 of 6 page views are not counted"]),
        (3, {}, ["2 page views are counted twice"]),
        (5, {7: NOON - timedelta(hours=1)}, []),
        (5, {7: NOON + timedelta(seconds=0.2)}, []),  # one with the sync that was about to end
        (5, {7: NOON + timedelta(hours=1)}, ["1 integrations are not synced"]),
        (5, {8: NOON}, ["1 integrations are not synced"]),
    ],
)
def test_jobs_are_missed_by_the_rows_that_they_leave(
    database: Path, views: int, synced: dict[int, datetime], faults: list[str]
) -> None:
    visitors = [Visitor(Client(1), seed=n) for n in range(2)]
    visitors[0].views, visitors[1].views = views - 1, 1
    visitors[0].synced, visitors[0].syncs = synced, 2
    work = wait_done(database, visitors, deadline=0)
    assert work.find_faults() == faults
    assert work.sent == views + 2


def test_commands_of_the_cache_are_told_from_those_of_jobs() -> None:
    counts = Counts(
        commands=Counter(GET=3, LPUSH=2, SUBSCRIBE=1),
        clients={
            Connection("a:1", "example-1:cache"): Counter({"GET": 2, "HELLO": 1}),
            Connection("a:2", f"{CLIENT_NAME}:abc"): Counter(SUBSCRIBE=1),
            Connection("a:3"): Counter(GET=1, LPUSH=2),
        },
    )
    cache, jobs = split(counts, "example-1")
    assert cache == Counter(GET=2, SUBSCRIBE=1)
    assert jobs == Counter(GET=1, LPUSH=2)


WORK = Work(sent=20, views=18, counted=18, unsynced=0)
STOP = Stop(status=0, seconds=2.5, left=0)


def run(name: str, cache: int, jobs: int, **changed: Any) -> Run:
    """Return a run of 100 requests in which all went well but what is changed."""
    run = Run(
        name=name,
        traffic=Traffic(requests=Counter(home=100), changes=2, seconds=[0.01] * 100),
        cache=Counter(GET=cache),
        jobs=Counter(LPUSH=jobs),
        sent=20,
        connections=30,
        spread=Spread(changes=2, slowest=0.25),
        work=WORK,
        stop=STOP,
    )
    return replace(run, **changed)


GOOD = Comparison(plain=run("plain", 300, 200), optimized=run("optimized", 30, 8))


def test_a_good_comparison_has_no_faults() -> None:
    assert GOOD.find_faults() == []
    assert GOOD.cache_saving == pytest.approx(90)
    assert GOOD.job_saving == pytest.approx(96)
    assert GOOD.saving == pytest.approx(92.4)
    figures = GOOD.as_dict()["optimized"]
    assert figures["cache_commands_per_request"] == 0.3
    assert figures["job_commands_per_job"] == 0.4


@pytest.mark.parametrize(
    ("what", "bad", "fault"),
    [
        ("traffic", Traffic(changes=1, failures=["no answer"] * 2), "2 x no answer"),
        ("traffic", Traffic(changes=1, stale=["older states"]), "1 x older states"),
        ("traffic", Traffic(), "nothing was changed, so nothing is proved"),
        ("spread", Spread(3, 1), "1 changes not shown in 15 s"),
        ("work", replace(WORK, counted=17), "1 of 18 page views are not counted"),
        ("work", replace(WORK, counted=20), "2 page views are counted twice"),
        ("work", replace(WORK, unsynced=3), "3 integrations are not synced"),
        ("stop", replace(STOP, status=-9), "the worker stopped with exit status -9"),
        ("stop", replace(STOP, left=4), "4 messages were left when the worker had stopped"),
    ],
)
def test_what_goes_wrong_is_a_fault(what: str, bad: object, fault: str) -> None:
    wrong = run("x", 1, 1, **{what: bad})
    assert f"x: {fault}" in replace(GOOD, optimized=wrong).find_faults()
    assert f"x: {fault}" in replace(GOOD, plain=wrong).find_faults()


@pytest.mark.parametrize(
    ("cache", "jobs", "what"),
    [(300, 8, "the cache"), (301, 8, "the cache"), (30, 200, "jobs"), (30, 201, "jobs")],
)
def test_no_saving_is_a_fault(cache: int, jobs: int, what: str) -> None:
    bad = replace(GOOD, optimized=run("optimized", cache, jobs))
    assert any(f"no commands were saved for {what} (" in each for each in bad.find_faults())


def test_the_table_says_what_was_counted() -> None:
    shown = table(GOOD)
    for part in ("90.0 %", "96.0 %", "18 of 18", "MONITOR", "GET", "LPUSH"):
        assert part in shown
