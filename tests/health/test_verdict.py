"""The verdicts of this process, as views ask for them."""

import os
import sys
import threading
from collections.abc import Iterator

import pytest

from redis_optimizer.health import (
    Status,
    Verdict,
    aget_verdict,
    arefresh_verdict,
    begin_verdict,
    drop_verdicts,
    get_verdict,
    peek_verdict,
    refresh_verdict,
)
from redis_optimizer.health.audience import Audience
from tests.cache.test_fork import in_child
from tests.health.sites import act, site
from tests.health.told import gate, raising
from tests.servers import wait_until


@pytest.fixture(autouse=True)
def runs() -> Iterator[list[str]]:
    with site() as made:
        yield made


def names(verdict: Verdict) -> list[str]:
    return [result.name for result in verdict.report.results]


def test_health_is_all_checks_and_ready_those_that_say_so(runs: list[str]) -> None:
    assert names(get_verdict()) == ["first", "second"]
    assert names(get_verdict("ready")) == ["first"]
    assert sorted(runs) == ["first", "first", "second"]
    assert get_verdict().is_cached
    assert get_verdict("ready", audience=Audience.STAFF).is_cached


async def test_coroutines_have_the_same_verdict(runs: list[str]) -> None:
    verdict = await aget_verdict()
    assert get_verdict().report is verdict.report
    assert (await aget_verdict(audience=Audience.STAFF)).report is verdict.report
    assert (await arefresh_verdict()).report is not verdict.report
    assert len(runs) == 4


def test_a_refresh_is_for_one_part(runs: list[str]) -> None:
    ready = get_verdict("ready")
    assert not refresh_verdict().is_cached
    assert get_verdict("ready").report is ready.report


def test_a_drop_is_for_both_and_is_logged_where_it_changes_something(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", "redis_optimizer.health")
    drop_verdicts("nothing is known")
    get_verdict()
    get_verdict("ready")
    drop_verdicts("it was seen")
    assert peek_verdict() is peek_verdict("ready") is None
    (record,) = caplog.records
    assert "it was seen" in record.getMessage()


def test_a_run_is_begun_in_the_background() -> None:
    begin_verdict()
    wait_until(peek_verdict)
    assert get_verdict().is_cached


def test_new_settings_make_a_new_verdict(runs: list[str]) -> None:
    get_verdict()
    act.append(raising(OSError()))
    with site():
        act.append(raising(OSError()))
        assert get_verdict().report.status is Status.FAILING


def test_a_warm_verdict_takes_no_lock_and_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    get_verdict()

    def refuse(*args: object) -> None:
        raise AssertionError

    monkeypatch.setattr(threading.Thread, "start", refuse)
    from redis_optimizer.health import verdict

    monkeypatch.setattr(verdict._ledgers["health"], "_lock", None)
    monkeypatch.setattr(verdict.registry, "get_checks", refuse)
    assert get_verdict().is_cached
    monkeypatch.undo()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform cannot fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_child_knows_nothing_and_waits_for_nothing_of_its_parent(runs: list[str]) -> None:
    with gate() as slow:
        act.append(slow)
        begin_verdict()
        slow.wait_entered(2)

        def child() -> None:
            # The run under way, and the checks that hang, are threads of the parent.
            act.clear()
            runs.clear()
            assert peek_verdict() is None
            verdict = get_verdict()
            assert verdict.report.status is Status.OK
            assert sorted(runs) == ["first", "second"]

        in_child(child)
        slow.opened.set()
    wait_until(peek_verdict)


def test_it_needs_no_celery() -> None:
    import subprocess

    script = "import django; django.setup(); import redis_optimizer.health.losses, sys\n"
    script += "assert 'celery' not in sys.modules and 'kombu' not in sys.modules"
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"}
    subprocess.run([sys.executable, "-c", script], env=environment, check=True)
