"""Checks run side by side, each within its deadline; whatever they do, there is a report."""

import asyncio
import sqlite3
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import connection, connections

from redis_optimizer.health import Degraded, Observation, Report, Result, Status
from redis_optimizer.health.base import Check
from redis_optimizer.health.runner import run_checks
from redis_optimizer.health.threads import Threads
from tests.health.told import Clock, Told, gate, raising
from tests.servers import wait_until


def told(act: Callable[[], Any], name: str = "", **options: Any) -> Told:
    """Return a check whose name no other test knows."""
    return Told(label=name or uuid.uuid4().hex, act=act, **options)


def run(*checks: Check, timeout: float = 30, **options: Any) -> Report:
    return run_checks(checks, timeout, 30, **options)


def result(act: Callable[[], Any], **options: Any) -> Result:
    return run(told(act, **options)).results[0]


def test_nothing_to_check_is_ok() -> None:
    report = run()
    assert (report.status, report.results) == (Status.OK, [])


def test_what_a_check_returns_is_what_it_saw() -> None:
    seen = {"depth": Observation(3, "messages"), "load": 0.5, "role": "primary"}
    outcome = result(lambda: seen)
    assert (outcome.status, outcome.error, outcome.is_defect) == (Status.OK, "", False)
    assert outcome.observed == {
        "depth": (3, "messages"),
        "load": (0.5, ""),
        "role": ("primary", ""),
    }
    assert all(isinstance(value, Observation) for value in outcome.observed.values())


def test_results_are_in_the_order_of_the_checks_and_the_worst_counts() -> None:
    checks = [
        told(lambda: None, "order-a"),
        told(raising(OSError()), "order-b"),
        told(raising(Degraded("slow")), "order-c"),
    ]
    report = run(*checks)
    assert [each.name for each in report.results] == ["order-a", "order-b", "order-c"]
    assert [each.status for each in report.results] == ["ok", "failing", "degraded"]
    assert report.status is Status.FAILING


def test_times_come_from_the_clocks_that_are_passed_in() -> None:
    now, clock = Clock(50), Clock(2_000)

    def act() -> None:
        now.advance(3)
        clock.advance(3)

    report = run(told(act), now=now, clock=clock)
    assert (report.checked_at, report.seconds) == (2_000, 3)
    assert (report.results[0].checked_at, report.results[0].seconds) == (2_003, 3)


def test_a_degraded_check_tells_what_it_saw() -> None:
    outcome = result(raising(Degraded("It is slow.", {"lag": Observation(2, "s")})))
    assert (outcome.status, outcome.error) == (Status.DEGRADED, "It is slow.")
    assert outcome.observed == {"lag": (2, "s")}


@pytest.mark.parametrize(("critical", "status"), [(True, "failing"), (False, "degraded")])
@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ConnectionError("refused"), "ConnectionError: refused"),
        (ConnectionError(), "ConnectionError"),
        (ValueError("x" * 1_000), "ValueError: " + "x" * 487 + "…"),
    ],
)
def test_an_error_fails_the_check_and_is_named(
    critical: bool, status: str, error: Exception, text: str
) -> None:
    outcome = result(raising(error), critical=critical)
    assert (outcome.status, outcome.error, outcome.is_defect) == (status, text, False)


def test_an_error_that_has_no_text_to_show_is_named() -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise ZeroDivisionError

    assert result(raising(Mute())).error == "Mute"


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit()])
@pytest.mark.parametrize("is_async", [False, True])
def test_what_would_end_the_process_ends_the_check_alone(
    error: BaseException, is_async: bool
) -> None:
    async def aact() -> None:
        raise error

    outcome = result(aact if is_async else raising(error))
    assert outcome.status is Status.FAILING
    assert outcome.error.startswith(type(error).__name__)
    assert outcome.is_defect


@pytest.mark.parametrize(
    ("seen", "text"),
    [
        (True, "a value of type bool"),
        ("ok", "a value of type str"),
        ({"x": None}, "'x' as None"),
        ({"x": float("nan")}, "'x' as nan"),
        ({"x": float("inf")}, "'x' as inf"),
        ({"x": 10**400}, "'x' as 1000"),
        ({"x": Observation([], "s")}, "'x' as Observation"),  # type: ignore[arg-type]
        ({"x": Observation(1, None)}, "'x' as Observation"),  # type: ignore[arg-type]
        ({1: 2}, "the name 1"),
        ({str(n): n for n in range(51)}, "51 observations"),
        (Degraded("slow", {"x": object()}), "'x' as <object"),  # type: ignore[dict-item]
    ],
)
def test_a_check_that_returns_rubbish_is_named_as_broken(seen: Any, text: str) -> None:
    outcome = result(raising(seen) if isinstance(seen, Degraded) else lambda: seen)
    assert (outcome.status, outcome.is_defect, outcome.observed) == (Status.FAILING, True, {})
    assert text in outcome.error


def test_long_texts_are_cut() -> None:
    outcome = result(lambda: {"n" * 501: "x" * 501, "n": "y" * 500})
    assert outcome.observed == {"n" * 499 + "…": ("x" * 499 + "…", ""), "n": ("y" * 500, "")}


def test_all_run_at_once() -> None:
    together = threading.Barrier(8)
    report = run(*(told(lambda: {"place": together.wait(60)}) for _ in range(8)))
    assert report.status is Status.OK


async def test_coroutines_are_checks_too() -> None:
    async def act() -> dict[str, float]:
        await asyncio.sleep(0)
        return {"x": 1}

    # On a thread whose event loop is running, too.
    assert result(act).observed == {"x": (1, "")}


# Checks that hang


def test_one_that_hangs_is_reported_in_time_and_holds_nobody_up() -> None:
    with gate() as hangs:
        checks = [told(hangs, timeout=0.2), told(lambda: {"x": 1}), told(hangs, critical=False)]
        report = run_checks(checks, 2, 30)
    slow, fine, overall = report.results
    assert (slow.status, slow.error) == (Status.FAILING, "timed out after 0.2 s")
    assert (fine.status, fine.observed) == (Status.OK, {"x": (1, "")})
    assert (overall.status, overall.error) == (Status.DEGRADED, "timed out after 2 s")
    assert not any(result.is_defect for result in report.results)


def test_one_that_does_not_say_gets_the_default() -> None:
    with gate() as hangs:
        (outcome,) = run_checks([told(hangs)], 30, 0.1).results
    assert outcome.error == "timed out after 0.1 s"


def test_while_it_hangs_no_other_thread_begins_the_same_until_30_s_have_passed() -> None:
    now = Clock()
    with gate() as hangs:
        check = told(hangs, timeout=0.05)
        assert run(check, now=now).results[0].error == "timed out after 0.05 s"
        for passed in (1, 28):
            now.advance(passed)
            outcome = run(check, now=now).results[0]
            assert outcome.status is Status.FAILING
            assert outcome.error == f"still running after {now.time - 1_000:.0f} s"
        wait_until(lambda: len(hangs.passing) == 1)
        now.advance(2)
        assert run(check, now=now).results[0].error == "timed out after 0.05 s"
        wait_until(lambda: len(hangs.passing) == 2)


def test_one_that_goes_on_hanging_is_attempted_less_and_less_often_but_for_ever() -> None:
    now = Clock()
    with gate() as hangs:
        check = told(hangs, timeout=0.01)
        attempts = []
        for passed in range(0, 3600, 15):
            now.time = 1_000.0 + passed
            if "timed out" in run(check, now=now).results[0].error:
                attempts.append(passed)
        assert attempts == [0, 30, 90, 210, 450, 930, 1890]
        wait_until(lambda: len(hangs.passing) == len(attempts))


def test_at_most_five_threads_are_at_one_check_at_once() -> None:
    threads = Threads()
    with gate() as slow:
        begun = [threads.take("slow", slow, now, 60, since=now)[1] for now in range(7)]
    assert begun == [True] * 5 + [False] * 2


def test_one_that_has_ended_since_is_run_again() -> None:
    with gate() as hangs:
        check = told(hangs, timeout=0.1)
        assert run(check).status is Status.FAILING
        hangs.opened.set()
        wait_until(lambda: run(check).status is Status.OK)


def test_one_that_another_run_has_begun_a_moment_ago_is_waited_for() -> None:
    with gate() as slow:
        check = told(slow)
        reports: list[Report] = []
        runs = [
            threading.Thread(target=lambda: reports.append(run(check)), daemon=True)
            for _ in range(2)
        ]
        for thread in runs:
            thread.start()
        slow.wait_entered()
        time.sleep(0.1)
        slow.opened.set()
        for thread in runs:
            thread.join(60)
        assert len(slow.passing) == 1
    assert [report.status for report in reports] == ["ok", "ok"]


def test_one_that_began_before_something_happened_is_not_waited_for() -> None:
    now = Clock()
    with gate() as slow:
        answers = iter([slow, lambda: {"x": 1}])
        check = told(lambda: next(answers)())
        first = threading.Thread(target=lambda: run(check, now=now), daemon=True)
        first.start()
        slow.wait_entered()
        now.advance(1)
        assert run(check, now=now, since=now.time).results[0].observed == {"x": (1, "")}
        slow.opened.set()
        first.join(60)


def test_its_threads_do_not_hold_up_the_exit() -> None:
    with gate() as hangs:
        run(told(hangs, timeout=0.05))
        (name,) = wait_until(lambda: hangs.passing)
        (thread,) = [thread for thread in threading.enumerate() if thread.name == name]
        assert thread.daemon


def test_where_no_thread_can_be_started_each_check_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    (outcome,) = run(told(lambda: None)).results
    assert (outcome.status, outcome.error) == (
        Status.FAILING,
        "RuntimeError: can't start new thread",
    )


# Databases


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.django_db(transaction=True)
def test_no_connection_to_a_database_in_memory_stays_open(is_async: bool) -> None:
    used: list[Any] = []

    def act() -> None:
        connection.ensure_connection()
        used.append(connection.connection)

    async def aact() -> None:
        await sync_to_async(act)()

    def is_closed() -> bool:
        try:
            used[0].total_changes  # noqa: B018
        except sqlite3.ProgrammingError as error:
            return "closed" in str(error)
        return False

    assert connection.is_in_memory_db()  # type: ignore[attr-defined]
    assert result(aact if is_async else act).error == ""
    wait_until(is_closed)


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.django_db(transaction=True)
def test_its_connections_to_databases_end_with_it(
    is_async: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[int] = []
    monkeypatch.setattr(
        type(connections["default"]), "close", lambda self: closed.append(threading.get_ident())
    )
    used: list[int] = []

    def act() -> None:
        connection.ensure_connection()
        used.append(threading.get_ident())

    async def aact() -> None:
        await sync_to_async(act)()

    assert result(aact if is_async else act).error == ""
    wait_until(lambda: closed)
    assert set(used) == set(closed) != {threading.get_ident()}
    monkeypatch.undo()
