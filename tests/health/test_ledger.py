"""One verdict for all callers: how long it is kept, for whom, and what it is not believed after."""

import asyncio
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from math import inf
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from redis_optimizer.health import Degraded, Report, Status, Verdict
from redis_optimizer.health.audience import Audience
from redis_optimizer.health.findings import Finding, Wish
from redis_optimizer.health.ledger import Ledger
from tests.health.told import Clock, Gate, Told, gate, raising
from tests.servers import wait_until

PUBLIC, STAFF = Audience.PUBLIC, Audience.STAFF


class Site:
    """A site with one check, which does what it is told and is counted.

    Args:
        part: "health" or "ready".
    """

    def __init__(self, part: Any = "health") -> None:
        self.runs = 0
        self.critical = True
        self.act: Callable[[], Any] = lambda: None
        self.now = Clock()
        self.clock = Clock(2_000)
        name = uuid.uuid4().hex
        self.ledger = Ledger(
            part,
            lambda: [Told(label=name, act=self.run, critical=self.critical)],
            now=self.now,
            clock=self.clock,
        )

    def run(self) -> Any:
        self.runs += 1
        return self.act()

    def advance(self, seconds: float) -> None:
        self.now.advance(seconds)
        self.clock.advance(seconds)

    def get(self, audience: Audience = PUBLIC, **options: Any) -> Verdict:
        return self.ledger.get(audience, **options)

    def status(self, audience: Audience = PUBLIC) -> Status:
        return self.get(audience).report.status

    def fail(self) -> None:
        self.act = raising(OSError())

    def mend(self) -> None:
        self.act = lambda: None


@pytest.fixture
def site() -> Site:
    return Site()


@pytest.fixture
def slow(site: Site) -> Iterator[Gate]:
    """Hold up the run of the site until the gate is opened."""
    with gate() as made:
        site.act = made
        yield made


@pytest.fixture(autouse=True)
def _patient(settings: Any) -> None:
    use(settings)


def use(settings: Any, **options: Any) -> None:
    """Set options; checks get the time that a busy machine needs."""
    settings.REDIS_OPTIMIZER = {"HEALTH_TIMEOUT": 60, "HEALTH_CHECK_TIMEOUT": 60, **options}


# How long it is kept


@pytest.mark.parametrize(
    ("part", "act", "audience", "seconds"),
    [
        ("health", lambda: None, PUBLIC, 120),
        ("health", lambda: None, STAFF, 60),
        ("health", raising(Degraded("slow")), PUBLIC, 120),
        ("health", raising(Degraded("slow")), STAFF, 60),
        ("health", raising(OSError()), PUBLIC, 10),
        ("health", raising(OSError()), STAFF, 10),
        ("ready", lambda: None, PUBLIC, 5),
        ("ready", lambda: None, STAFF, 5),
        ("ready", raising(OSError()), PUBLIC, 5),
    ],
)
def test_it_is_kept_for_as_long_as_the_settings_say(
    part: str, act: Callable[[], Any], audience: Audience, seconds: float
) -> None:
    site = Site(part)
    site.act = act
    first = site.get(audience)
    assert (first.is_cached, first.age, first.kept_for) == (False, 0, seconds)
    site.advance(seconds - 1)
    again = site.get(audience)
    assert (again.is_cached, again.age, again.kept_for) == (True, seconds - 1, 1)
    assert again.report is first.report
    assert site.runs == 1
    site.advance(1)
    assert not site.get(audience).is_cached
    assert site.runs == 2


def test_staff_and_public_are_answered_from_one_run(site: Site) -> None:
    assert site.get(PUBLIC).report is site.get(STAFF).report
    site.advance(60)
    assert site.get(PUBLIC).kept_for == 60
    assert site.runs == 1
    assert not site.get(STAFF).is_cached
    assert site.get(PUBLIC).age == 0
    assert site.runs == 2


def test_its_age_counts_from_when_the_run_began(site: Site) -> None:
    site.act = lambda: site.advance(3)
    verdict = site.get(PUBLIC)
    assert (verdict.age, verdict.kept_for, verdict.report.checked_at) == (3, 117, 2_000)


def test_a_caller_may_want_a_younger_one(site: Site) -> None:
    site.get()
    site.advance(20)
    assert site.get(max_age=30).kept_for == 10
    assert site.runs == 1
    assert site.get(max_age=20).age == 0
    assert site.runs == 2


@pytest.mark.parametrize("options", [{"HEALTH_TTL": 0}, {"ENABLED": False}])
def test_with_no_lifetime_each_call_runs_the_checks(
    site: Site, settings: Any, options: dict[str, Any]
) -> None:
    use(settings, **options)
    for _ in range(2):
        verdict = site.get(PUBLIC)
        assert (verdict.is_cached, verdict.kept_for) == (False, 0)
    assert site.runs == 2
    if "ENABLED" in options:
        assert site.ledger.peek(PUBLIC) is None
    else:  # staff are shown it for a while
        assert site.get(STAFF).is_cached


def test_without_a_lifetime_a_failure_is_not_kept_either(site: Site, settings: Any) -> None:
    use(settings, HEALTH_TTL=0, HEALTH_STAFF_TTL=0)
    site.fail()
    assert [site.status(), site.status()] == ["failing", "failing"]
    assert site.runs == 2


@pytest.mark.parametrize("act", [raising(SystemExit()), lambda: 3], ids=["exits", "rubbish"])
@pytest.mark.parametrize("critical", [True, False])
def test_the_verdict_of_a_broken_check_is_kept_as_long_as_a_failure(
    site: Site, act: Callable[[], Any], critical: bool
) -> None:
    site.critical = critical
    site.get()
    site.advance(120)
    site.act = act
    for is_cached in (False, True):
        verdict = site.get()
        expected = Status.FAILING if critical else Status.DEGRADED
        assert (verdict.report.status, verdict.is_cached) == (expected, is_cached)
        assert verdict.kept_for == 10
    assert site.runs == 2
    site.advance(10)
    site.mend()
    assert site.status() == "ok"


def test_wrong_settings_are_told_to_all_and_not_kept(site: Site) -> None:
    def fail() -> Any:
        raise ImproperlyConfigured("wrong")

    ledger = Ledger("health", fail)
    for _ in range(2):
        with pytest.raises(ImproperlyConfigured, match="wrong"):
            ledger.get(PUBLIC)


# One run for all


def test_200_threads_share_one_run(site: Site, slow: Gate) -> None:
    ready = threading.Barrier(200)

    def call() -> Verdict:
        ready.wait(60)
        return site.get()

    with ThreadPoolExecutor(200) as pool:
        calls = [pool.submit(call) for _ in range(200)]
        slow.wait_entered()
        slow.opened.set()
        verdicts = [call.result(60) for call in calls]
    assert site.runs == 1
    assert len({id(verdict.report) for verdict in verdicts}) == 1


async def test_threads_and_coroutines_share_one_run_and_the_loop_goes_on(
    site: Site, slow: Gate
) -> None:
    beats = 0

    async def beat() -> None:
        nonlocal beats
        while True:
            beats += 1
            await asyncio.sleep(0.001)

    beating = asyncio.create_task(beat())
    with ThreadPoolExecutor(50) as pool:
        threads = [pool.submit(site.get) for _ in range(50)]
        tasks = [asyncio.create_task(site.ledger.aget(PUBLIC)) for _ in range(150)]
        await asyncio.to_thread(slow.wait_entered)
        before = beats
        await asyncio.sleep(0.1)
        assert beats > before + 3  # the checks run
        cancelled = tasks.pop(0)
        cancelled.cancel()
        slow.opened.set()
        verdicts = await asyncio.gather(*tasks)
        verdicts += [await asyncio.wrap_future(thread) for thread in threads]
    beating.cancel()
    assert cancelled.cancelled()
    assert site.runs == 1
    assert {id(verdict.report) for verdict in verdicts} == {id(site.get().report)}


async def test_a_coroutine_gets_what_is_known_at_once(site: Site) -> None:
    assert (await site.ledger.aget(PUBLIC)).is_cached is False
    assert (await site.ledger.aget(STAFF)).is_cached is True
    assert (await site.ledger.aget(STAFF, anew=True)).is_cached is False
    assert site.runs == 2


def test_each_of_many_threads_without_a_lifetime_gets_an_answer(site: Site, settings: Any) -> None:
    use(settings, ENABLED=False)
    with ThreadPoolExecutor(50) as pool:
        verdicts = list(pool.map(lambda _: site.get(), range(200)))
    assert {verdict.report.status for verdict in verdicts} == {Status.OK}
    assert 1 <= site.runs <= 200


def test_where_no_thread_can_be_started_it_fails_at_once(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert site.status() is Status.FAILING


# Anew


def test_a_refresh_runs_the_checks_whatever_is_known(site: Site) -> None:
    site.get()
    site.fail()
    assert site.get(anew=True).report.status is Status.FAILING
    assert site.status() is Status.FAILING
    site.mend()
    assert site.get(anew=True).report.status is Status.OK
    assert site.status() is Status.OK
    assert site.runs == 3


def test_refreshes_and_calls_meanwhile_share_one_run(
    site: Site, slow: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    join, joined = site.ledger._join, []

    def note(wish: Any) -> Any:
        joined.append(run := join(wish))
        return run

    monkeypatch.setattr(site.ledger, "_join", note)
    with ThreadPoolExecutor(40) as pool:
        calls = [pool.submit(site.get, anew=number % 2 == 0) for number in range(40)]
        wait_until(lambda: len(joined) == 40)  # a refresh that comes after the run has its own
        slow.opened.set()
        assert len({id(call.result(60).report) for call in calls}) == 1
    assert site.runs == 1


# Dropped


def test_a_good_verdict_that_is_dropped_is_found_out_anew(site: Site) -> None:
    site.get()
    site.fail()
    assert site.ledger.drop() is True
    assert site.ledger.peek(PUBLIC) is None
    assert site.status() is Status.FAILING
    assert site.runs == 2


def test_a_bad_one_stays_for_its_time_however_often_it_is_dropped(site: Site) -> None:
    site.fail()
    site.get()
    for _ in range(9):
        assert site.ledger.drop() is False
        assert site.status() is Status.FAILING
        site.advance(1)
    assert site.runs == 1
    site.mend()
    site.advance(1)
    assert site.status() is Status.OK


def test_a_run_that_began_before_the_drop_is_not_kept_when_it_comes_out_good(
    site: Site, slow: Gate
) -> None:
    with ThreadPoolExecutor(2) as pool:
        before = pool.submit(site.get)
        slow.wait_entered()
        site.advance(1)
        site.ledger.drop()
        after = pool.submit(site.get)
        wait_until(lambda: after.running())
        site.fail()
        slow.opened.set()
        told_before, told_after = before.result(60), after.result(60)
    assert (told_before.report.status, told_before.kept_for) == (Status.OK, 0)
    assert told_after.report.status is Status.FAILING
    assert site.runs == 2


def test_a_run_that_began_before_the_drop_is_kept_when_it_comes_out_bad(site: Site) -> None:
    def act() -> None:
        site.ledger.drop()
        raise OSError

    site.act = act
    assert site.get().kept_for == 10
    assert site.get().is_cached


def test_what_another_part_began_to_check_before_the_drop_is_not_waited_for(
    site: Site, slow: Gate
) -> None:
    ready = Ledger("ready", site.ledger._checks, now=site.now, clock=site.clock)
    site.ledger.begin(PUBLIC)
    slow.wait_entered()
    site.advance(1)
    ready.drop()
    site.fail()
    assert ready.get(PUBLIC).report.status is Status.FAILING
    assert site.runs == 2


def test_drops_without_end_hold_nobody_up(site: Site) -> None:
    site.act = lambda: {"dropped": site.ledger.drop()}
    assert site.status() is Status.OK
    assert site.runs == 1


# Looking, and beginning


def test_what_is_known_is_seen_without_a_run(site: Site) -> None:
    assert site.ledger.peek(PUBLIC) is None
    site.get()
    site.advance(50)
    seen = site.ledger.peek(STAFF)
    assert seen is not None
    assert (seen.is_cached, seen.age, seen.kept_for) == (True, 50, 10)
    site.advance(1_000)
    seen = site.ledger.peek(STAFF)
    assert seen is not None
    assert (seen.age, seen.kept_for) == (1_050, 0)
    assert site.runs == 1


def test_a_run_is_begun_in_the_background_once(site: Site, slow: Gate) -> None:
    for _ in range(5):
        site.ledger.begin(PUBLIC)
    slow.wait_entered()
    assert site.ledger.peek(PUBLIC) is None
    slow.opened.set()
    wait_until(lambda: site.ledger.peek(PUBLIC))
    site.ledger.begin(PUBLIC)
    assert site.runs == 1
    site.advance(120)
    site.ledger.begin(PUBLIC)
    wait_until(lambda: site.runs == 2)


def test_none_is_begun_where_nothing_would_be_kept(site: Site, settings: Any) -> None:
    use(settings, HEALTH_TTL=0)
    site.ledger.begin(PUBLIC)
    assert site.ledger._runs == 0
    site.ledger.begin(STAFF)
    assert site.ledger._runs == 1


# Races


@pytest.mark.parametrize("anew", [False, True])
def test_one_who_comes_just_as_a_run_ends_needs_no_other(site: Site, anew: bool) -> None:
    wish = site.ledger._wish(PUBLIC, inf, anew=anew)
    verdict = site.get(anew=anew)
    assert site.ledger._join(wish).result(60).report is verdict.report
    assert site.runs == 1


def test_a_wish_for_the_checks_of_this_process_is_not_granted_by_another_one() -> None:
    found = Finding(Report((), 0, 0), 0, {}, number=7, drops=0, is_shared=True)
    wish = Wish(PUBLIC, inf, drops=0, is_own=False, least=0)
    assert wish.accepts(found, 1)
    wish.insist(7)
    assert not wish.accepts(found, 1)
    assert wish.accepts(replace(found, is_shared=False), 1)
    assert not wish.accepts(replace(found, is_shared=False, number=6), 1)


# Reset


def test_after_a_reset_a_run_of_before_is_told_to_those_who_wait_and_not_kept(
    site: Site, slow: Gate
) -> None:
    with ThreadPoolExecutor(1) as pool:
        waits = pool.submit(site.get)
        slow.wait_entered()
        site.ledger.reset()
        slow.opened.set()
        assert waits.result(60).report.status is Status.OK
    assert site.ledger.peek(PUBLIC) is None
    assert not site.get().is_cached
    assert site.get().is_cached


@pytest.mark.parametrize("anew", [False, True])
def test_a_reset_holds_nobody_up_who_wants_a_later_run(site: Site, anew: bool) -> None:
    site.get()
    site.ledger.drop()
    wish = site.ledger._wish(PUBLIC, inf, anew=anew)
    site.ledger.reset()
    assert site.ledger._grants(wish, site.ledger._join(wish).result(60))


def test_from_when_others_can_join_a_run_nobody_can_cancel_it() -> None:
    site = Site()
    seen: list[bool] = []

    class Lock:
        def __enter__(self) -> None: ...

        def __exit__(self, *exc_info: object) -> None:
            if run := site.ledger._run:
                seen.append(run.future.running())

    site.ledger._lock = Lock()  # type: ignore[assignment]
    site.get()
    assert seen
    assert all(seen)
