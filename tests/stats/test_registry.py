"""Sources say what they counted; one that fails hides none of the others."""

import os
import signal

import pytest

from redis_optimizer.stats.registry import Registry, registry

BEGIN = 1_800_000_000.0


class Clock:
    def __init__(self) -> None:
        self.at = BEGIN

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def counts(clock: Clock) -> Registry:
    return Registry(clock)


def test_totals_are_by_source(counts: Registry) -> None:
    counts.register("a", lambda: {"n": 1})
    counts.register("b", lambda: {"n": 2})
    counts.register("b", lambda: {"n": 3})
    assert counts.totals() == {"a": {"n": 1}, "b": {"n": 3}}


def test_the_history_follows_what_a_source_names(counts: Registry, clock: Clock) -> None:
    seen = {"n": 0, "other": 0}
    counts.register("a", lambda: seen, lambda: {"n": seen["n"]})
    counts.register("b", lambda: seen)
    assert counts.look() == 10
    seen.update(n=5, other=7)
    clock.at += 12
    assert counts.look() == 8
    assert counts.history() == {"step": 10.0, "begins": BEGIN, "series": {"a.n": [5, 0]}}


def test_who_asks_has_what_was_counted_up_to_now(counts: Registry, clock: Clock) -> None:
    seen = {"n": 0}
    counts.register("a", lambda: seen, lambda: seen)
    counts.look()
    seen["n"] = 5
    clock.at += 3
    assert counts.history()["series"] == {"a.n": [5]}


def test_a_source_that_fails_is_counted(counts: Registry) -> None:
    def fail() -> dict[str, int]:
        raise RuntimeError

    counts.register("a", fail, fail)
    counts.register("b", lambda: {"n": 2}, lambda: {"n": 2})
    assert counts.totals() == {"a": {}, "b": {"n": 2}}
    counts.look()
    assert counts.failed == 2


def test_reset_forgets_the_history_alone(counts: Registry, clock: Clock) -> None:
    seen = {"n": 0}
    counts.register("a", lambda: seen, lambda: seen)
    counts.look()
    seen["n"] = 5
    counts.look()
    counts.reset()
    assert counts.history()["series"] == {}
    assert counts.totals() == {"a": {"n": 5}}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform cannot fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_has_a_history_of_its_own() -> None:
    with registry._lock:  # as another thread of the parent may hold it
        child = os.fork()
        if not child:
            signal.alarm(30)  # rather than wait for ever
            os._exit(len(registry.history()["series"]))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
