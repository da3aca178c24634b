"""What a process knows of parts that are switched at run time."""

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import override_settings

from redis_optimizer import switches
from redis_optimizer.signals import switched
from redis_optimizer.switches import PARTS, State, is_on, learn, on_change, reset, states
from tests.core.loads import held


@pytest.fixture(autouse=True)
def _watchers(monkeypatch: pytest.MonkeyPatch) -> None:
    # Those of the cache and of jobs are there when other tests have loaded them.
    monkeypatch.setattr(switches, "_watchers", {})


@pytest.fixture
def told() -> Iterator[list[tuple[str, bool, str]]]:
    """Return what the signal has told."""
    heard: list[tuple[str, bool, str]] = []

    def note(part: str, on: bool, by: str, **kwargs: Any) -> None:
        heard.append((part, on, by))

    switched.connect(note)
    yield heard
    switched.disconnect(note)


def off(at: float, by: str = "") -> dict[str, State]:
    return {"cache": State(on=False, at=at, by=by)}


def on(at: float) -> dict[str, State]:
    return {"cache": State(on=True, at=at)}


def test_everything_is_on_until_somebody_says_otherwise() -> None:
    assert all(map(is_on, PARTS))
    assert states() == dict.fromkeys(PARTS, State(on=True, at=0.0, by=""))


def test_a_part_is_switched_off_and_on_and_the_others_are_left_alone() -> None:
    assert learn(off(1.0, "root")) == ["cache"]
    assert [part for part in PARTS if not is_on(part)] == ["cache"]
    assert states()["cache"] == State(on=False, at=1.0, by="root")
    assert learn(on(2.0)) == ["cache"]
    assert all(map(is_on, PARTS))


@pytest.mark.parametrize("at", [5.0, 4.9, 0.0, -1.0])
def test_what_was_said_last_counts_whatever_arrives_last(at: float) -> None:
    learn(off(5.0))
    assert learn(on(at)) == []
    assert not is_on("cache")


def test_each_part_has_a_time_of_its_own() -> None:
    learn({"cache": State(on=False, at=5.0), "dedup": State(on=False, at=1.0)})
    learn({"cache": State(on=True, at=3.0), "dedup": State(on=True, at=3.0)})
    assert (is_on("cache"), is_on("dedup")) == (False, True)


def test_a_part_of_a_later_version_is_left_alone() -> None:
    assert learn({"unknown": State(on=False, at=1.0)}) == []
    assert set(states()) == set(PARTS)


def test_what_the_settings_have_off_stays_off_and_what_is_said_is_remembered() -> None:
    with override_settings(REDIS_OPTIMIZER={"ENABLED": False}):
        assert not any(map(is_on, PARTS))
        learn(on(1.0))
        assert not is_on("cache")
        learn(off(2.0))
    assert [part for part in PARTS if not is_on(part)] == ["cache"]


def test_who_must_react_is_called_when_the_part_is_switched_and_only_then(
    told: list[tuple[str, bool, str]],
) -> None:
    seen: list[bool] = []
    on_change("cache", lambda: seen.append(is_on("cache")))
    learn(off(1.0, "root"))
    learn(off(2.0, "root"))  # it is off already
    learn({"dedup": State(on=False, at=1.0)})
    learn(on(3.0))
    assert seen == [False, True]
    assert told == [("cache", False, "root"), ("dedup", False, ""), ("cache", True, "")]


def test_who_fails_to_react_does_not_keep_others_from_it(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[str] = []

    def fail() -> None:
        raise RuntimeError

    on_change("cache", fail)
    on_change("cache", lambda: seen.append("called"))
    learn(off(1.0))
    assert seen == ["called"]
    assert "could not be switched at once" in caplog.text


def test_a_reset_switches_everything_on_and_tells_who_must_react() -> None:
    seen: list[bool] = []
    learn(off(1.0))
    on_change("cache", lambda: seen.append(is_on("cache")))
    reset()
    assert seen == [True]
    assert learn(off(0.5)) == ["cache"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform cannot fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_knows_what_its_parent_knew(monkeypatch: pytest.MonkeyPatch) -> None:
    learn(off(1.0))
    # As another thread of the parent may hold the lock, and be half-way through.
    monkeypatch.setattr(switches, "_off", frozenset())
    with held(switches._lock):
        child = os.fork()
        if not child:
            signal.alarm(30)  # rather than wait for ever
            knew = not is_on("cache")
            learn(on(2.0))
            os._exit(0 if knew and is_on("cache") else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    monkeypatch.undo()
    assert not is_on("cache")
