"""The traffic driver notices what is wrong, and the comparison fails then."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import pytest
import redis

from example_project.demo import traffic
from example_project.demo.client import processes
from example_project.demo.commandstats import CommandCounter
from example_project.demo.comparison import Comparison, Run
from example_project.demo.report import table
from example_project.demo.traffic import Spread, arrive, drive, follow
from example_project.demo.visitor import MIX, Traffic, Visitor
from redis_optimizer.embedded import EmbeddedServer
from tests.demo import Demo, needs_demo, running_demo


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


def test_commands_are_counted_without_the_question(server: EmbeddedServer) -> None:
    with redis.Redis.from_url(server.url) as client, CommandCounter(server.url) as counter:
        client.ping()
        counter.restart()
        client.set("name", 1)
        client.get("name")
        client.get("name")
        client.config_get("maxmemory")
        client.eval("return redis.call('GET', 'name')", 0)
        assert counter.count() == Counter({"GET": 3, "SET": 1, "EVAL": 1, "CONFIG GET": 1})


def run(name: str, commands: int) -> Run:
    """Return a run of 100 requests in which all went well."""
    seen = Traffic(requests=Counter(home=100), changes=2, seconds=[0.01] * 100)
    return Run(name, seen, Counter(GET=commands), Spread(changes=2, slowest=0.25))


GOOD = Comparison(plain=run("plain django-redis", 300), tiered=run("TieredCache", 30))


def test_a_good_comparison_has_no_faults() -> None:
    assert GOOD.find_faults() == []
    assert GOOD.saving == pytest.approx(90)
    assert GOOD.as_dict()["tiered"]["commands_per_request"] == 0.3


@pytest.mark.parametrize(
    ("bad", "fault"),
    [
        (
            Run("x", Traffic(changes=1, failures=["no answer"] * 2), Counter(), Spread()),
            "x: 2 x no answer",
        ),
        (
            Run("x", Traffic(changes=1, stale=["older states"]), Counter(), Spread()),
            "x: 1 x older states",
        ),
        (Run("x", Traffic(changes=1), Counter(), Spread(3, 1)), "x: 1 changes not shown in 15 s"),
        (Run("x", Traffic(), Counter(), Spread()), "x: nothing was changed, so nothing is proved"),
    ],
)
def test_what_goes_wrong_is_a_fault(bad: Run, fault: str) -> None:
    assert fault in replace(GOOD, tiered=bad).find_faults()
    assert fault in replace(GOOD, plain=bad).find_faults()


@pytest.mark.parametrize("commands", [300, 301])
def test_no_saving_is_a_fault(commands: int) -> None:
    bad = replace(GOOD, tiered=run("TieredCache", commands))
    assert any("no commands were saved" in fault for fault in bad.find_faults())


def test_the_table_says_what_was_counted() -> None:
    shown = table(GOOD)
    assert "90.0 %" in shown
    assert "INFO commandstats" in shown
    assert "Lua and MULTI" in shown
