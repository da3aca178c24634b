"""What this process knows of one part of the site, and the run that finds it out.

A run has a thread of its own, and all who want its outcome, threads and coroutines, wait for one
future: a caller who gives up, or is cancelled, takes nobody with him.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from math import inf
from typing import Final

from redis_optimizer.conf import get_settings
from redis_optimizer.health.audience import Audience
from redis_optimizer.health.base import Check
from redis_optimizer.health.findings import Finding, Run, Verdict, Wish
from redis_optimizer.health.lifetimes import Part, lifetimes
from redis_optimizer.health.report import Status
from redis_optimizer.health.runner import run_checks
from redis_optimizer.health.sharing import Share, open_share
from redis_optimizer.stats.endpoints import counts_of
from redis_optimizer.switches import is_on

__all__ = ["Ledger"]

SHARING_TIME: Final = 0.25  # of HEALTH_TIMEOUT: what the shared cache may take; a run has the rest


class Ledger:
    """The verdict on one part of the site.

    Args:
        part: Its name.
        checks: Returns what to run.
        now: Clock in seconds; must be monotonic.
        clock: Seconds since the epoch.
    """

    def __init__(
        self,
        part: Part,
        checks: Callable[[], Sequence[Check]],
        now: Callable[[], float] = time.monotonic,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._part: Part = part
        self._checks = checks
        self._now = now
        self._clock = clock
        self._counts = counts_of(f"verdict: {part}")
        # Both go on counting: callers may be waiting for what comes after a number of them.
        self._runs = 0
        self._drops = 0
        self.reset()

    def reset(self) -> None:
        """Know nothing; for new settings, and for a forked child, where nothing is under way."""
        self._lock = threading.Lock()
        self._kept: Finding | None = None
        self._run: Run | None = None
        self._dropped_at = -inf
        self._proved = self._drops  # those that had been before the last run of our own

    def peek(self, audience: Audience, max_age: float = inf) -> Verdict | None:
        """Return what is known, even if its time is over: `kept_for` is 0 then."""
        kept = self._kept
        if kept is None:
            return None
        age = self._now() - kept.began
        left = min(kept.ttls[audience], max_age) - age if is_on("endpoints") else 0.0
        return Verdict(kept.report, True, age, left if left > 0 else 0.0)

    def get(self, audience: Audience, max_age: float = inf, *, anew: bool = False) -> Verdict:
        """Return the verdict; where none is young enough, after a run that all callers share.

        Args:
            audience: Whom it is told to.
            max_age: Seconds that it may be old.
            anew: Run the checks, whatever is known; who comes while they run, joins.

        Raises:
            ImproperlyConfigured: the settings are wrong.
        """
        if not anew and (verdict := self._known(audience, max_age)):
            return verdict
        wish = self._wish(audience, max_age, anew=anew)
        while True:
            finding = self._join(wish).result()
            if self._grants(wish, finding):
                return self._tell(wish, finding)

    async def aget(
        self, audience: Audience, max_age: float = inf, *, anew: bool = False
    ) -> Verdict:
        """Do what `get` does, without blocking the event loop."""
        if not anew and (verdict := self._known(audience, max_age)):
            return verdict
        wish = self._wish(audience, max_age, anew=anew)
        while True:
            finding = await asyncio.wrap_future(self._join(wish))
            if self._grants(wish, finding):
                return self._tell(wish, finding)

    def begin(self, audience: Audience) -> None:
        """Begin a run, unless one is under way or what is known is young enough.

        Nor is one begun of which nothing would be kept.
        """
        if lifetimes(self._part, Status.OK)[audience] > 0:
            self._join(self._wish(audience, inf, anew=False))

    def drop(self) -> bool:
        """Believe a good verdict no longer, nor one that is being found out.

        A bad one stays: a site where things fail does not run its checks for each failure.

        Returns:
            True when there was a good one.
        """
        with self._lock:
            self._drops += 1
            self._dropped_at = self._now()
            kept = self._kept
            if kept is None or not kept.is_good:
                return False
            self._kept = None
            return True

    # Callers

    def _known(self, audience: Audience, max_age: float) -> Verdict | None:
        verdict = self.peek(audience, max_age)
        if verdict is None or not verdict.kept_for:
            return None
        self._counts.hits += 1
        return verdict

    def _wish(self, audience: Audience, max_age: float, *, anew: bool) -> Wish:
        with self._lock:
            wish = Wish(audience, max_age, self._drops, is_own=False, least=0)
            if anew:
                joins = self._run is not None and self._run.is_own
                wish.insist(self._runs if joins else self._runs + 1)
            return wish

    def _join(self, wish: Wish) -> Future[Finding]:
        """Return what to wait for; it need not be what was wished for."""
        with self._lock:
            kept = self._kept
            if kept is not None and self._suits(wish, kept):
                future: Future[Finding] = Future()
                future.set_result(kept)
                return future
            if self._run is not None:
                return self._run.future
            self._runs += 1
            # What others found out may be of the time before the drop.
            is_own = wish.is_own or self._drops != self._proved
            run = Run(self._runs, self._drops, self._dropped_at, is_own)
            # Before anybody can wait for it: now it cannot be cancelled by one who does.
            run.future.set_running_or_notify_cancel()
            self._run = run
        thread = threading.Thread(
            target=self._perform, args=(run,), name=f"redis_optimizer:{self._part}", daemon=True
        )
        try:
            thread.start()
        except RuntimeError:  # no more threads: each check says so at once
            self._perform(run)
        return run.future

    def _suits(self, wish: Wish, kept: Finding) -> bool:
        now = self._now()
        is_young = now - kept.began < min(kept.ttls[wish.audience], wish.max_age)
        return is_young and is_on("endpoints") and wish.accepts(kept, now)

    def _grants(self, wish: Wish, finding: Finding) -> bool:
        if wish.accepts(finding, self._now()):
            return True
        if finding.is_shared:
            wish.insist(finding.number + 1)
        return False

    def _tell(self, wish: Wish, finding: Finding) -> Verdict:
        age = self._now() - finding.began
        left = min(finding.ttls[wish.audience], wish.max_age) - age
        kept_for = max(left, 0.0) if finding is self._kept else 0.0
        return Verdict(finding.report, finding.is_shared, age, kept_for)

    # The thread of a run

    def _perform(self, run: Run) -> None:
        try:
            finding = self._find(run)
            self._land(run, finding)
        except BaseException as error:  # the settings are wrong, say: all who wait are told
            self._leave(run)
            run.future.set_exception(error)
        else:
            run.future.set_result(finding)

    def _find(self, run: Run) -> Finding:
        began = self._now()
        timeout = get_settings().HEALTH_TIMEOUT
        checks = self._checks()
        # Whether this process is ready, no other one can tell.
        share = open_share(checks, self._clock) if self._part == "health" else None
        if share is None:
            return self._run_checks(run, checks, timeout)
        if not run.is_own:
            report = share.ask(timeout * SHARING_TIME)
            if report is not None:
                age = max(self._clock() - report.checked_at, 0)
                ttls = lifetimes(self._part, report.status)
                now = self._now()
                return Finding(report, now - age, ttls, run.number, run.drops, is_shared=True)
        return self._run_for_all(run, share, checks, timeout - (self._now() - began))

    def _run_for_all(
        self, run: Run, share: Share, checks: Sequence[Check], timeout: float
    ) -> Finding:
        finding: Finding | None = None
        try:
            finding = self._run_checks(run, checks, timeout)
        finally:
            report = finding.report if finding and self._is_believed(run, finding) else None
            # A check that is broken here need not be so elsewhere.
            share.answer(None if report is None or report.is_defective else report)
        return finding

    def _run_checks(self, run: Run, checks: Sequence[Check], timeout: float) -> Finding:
        began = self._now()
        self._counts.runs += 1
        report = run_checks(
            checks,
            timeout,
            get_settings().HEALTH_CHECK_TIMEOUT,
            since=run.since,
            now=self._now,
            clock=self._clock,
        )
        # Of what a broken check is about, nothing is known; but not each call is to run all others.
        status = Status.FAILING if report.is_defective else report.status
        return Finding(report, began, lifetimes(self._part, status), run.number, run.drops)

    def _is_believed(self, run: Run, finding: Finding) -> bool:
        """Tell whether it holds for those who come later, too."""
        return not finding.is_good or run.drops == self._drops

    def _land(self, run: Run, finding: Finding) -> None:
        with self._lock:
            if self._run is not run:  # the settings have changed since
                return
            self._run = None
            if not finding.is_shared:
                self._proved = run.drops
            is_kept = self._is_believed(run, finding) and any(finding.ttls.values())
            self._kept = finding if is_kept else None

    def _leave(self, run: Run) -> None:
        with self._lock:
            if self._run is run:
                self._run = None
