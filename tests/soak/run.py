"""One soak, from the first process to the last."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median_high

from tests.servers import wait_until

from .faults import FAULTS, deal, inflict
from .ground import Ground
from .jobs import judge
from .plan import Plan
from .report import Report
from .site import ledger
from .visitors import Visitors
from .watch import Watch, connections

# As tests.soak.site.settings has them, which needs the environment of a process of the site.
MAX_STALENESS, STALE_IF_ERROR = 3.0, 10.0
THROTTLE = 2.0
BOUNDS = {"default": MAX_STALENESS, "pages": MAX_STALENESS + STALE_IF_ERROR}
Counts = dict[str, tuple[int, int]]
LOCKS = {"cache": "*:redis_optimizer.lock", "broker": "redis_optimizer:soak:dedup:*"}


def soak(plan: Plan, folder: Path, tell: Callable[[str], None] = print) -> Report:
    """Run a plan.

    Args:
        plan: The run.
        folder: For its files; the logs of all processes stay there.
        tell: Is told of each fault.
    """
    report = Report(plan, BOUNDS, {"throttle": THROTTLE})
    with Ground(plan, folder) as ground:
        visitors, watch = Visitors(plan, ground.port, BOUNDS), Watch(ground)
        watch.start()
        try:
            visitors.start()
            try:
                before = _count_connections(plan, ground, visitors)
                began = time.monotonic()
                _disturb(plan, ground, report, began, tell)
                ended = time.monotonic()
                report.connections = _settle(plan, ground, visitors, before)
            finally:
                visitors.stop()
            _drain(plan, ground, visitors, report, ended)
        finally:
            watch.stop()  # before the ground is left: it would start again what is stopped then
        _compare_threads(watch, began, report)
        report.growth = watch.growth(ended)
        _end(ground, report)
        report.jobs = judge(visitors.sent, ledger.read(ground.ledger), THROTTLE)
        report.left = ground.left()
    report.tallies = visitors.versions.tallies
    report.writes = visitors.versions.acknowledged
    report.answers = dict(sorted(visitors.answers.items()))
    report.slowest = visitors.slowest
    report.broken = visitors.broken
    return report


def _count_connections(plan: Plan, ground: Ground, visitors: Visitors) -> dict[str, int]:
    """Let many visit the site, and return how many connections each server has in the end.

    The median of the second half of that time: some connections are there for a moment only.
    """
    clients = {name: place.admin() for name, place in ground.places.items()}
    seen: dict[str, list[int]] = {name: [] for name in clients}
    crowd = threading.Thread(target=visitors.crowd, args=[plan.warm_up])
    crowd.start()
    while crowd.is_alive():
        time.sleep(0.1)
        for name, client in clients.items():
            seen[name].append(connections(client))
    crowd.join()
    for client in clients.values():
        client.close()
    return {name: median_high(counts[len(counts) // 2 :]) for name, counts in seen.items()}


def _disturb(
    plan: Plan, ground: Ground, report: Report, began: float, tell: Callable[[str], None]
) -> None:
    for number, fault in enumerate(deal(plan.faults or FAULTS, plan.seed)):
        due = began + number * plan.every
        if due >= began + plan.minutes * 60:
            break
        time.sleep(max(0.0, due - time.monotonic()))
        at = time.monotonic() - began
        inflict(fault, ground, plan.hold)
        report.faults.append((round(at, 1), str(fault)))
        report.on_the_way += plan.workers * fault.breaks_jobs
        tell(f"{at:7.1f} s  {fault}, {time.monotonic() - began - at:.1f} s")


def _settle(plan: Plan, ground: Ground, visitors: Visitors, before: dict[str, int]) -> Counts:
    """Wait until as many visitors as before need no more connections than then."""
    deadline = time.monotonic() + plan.settling
    try:
        wait_until(visitors.are_served, plan.settling, 0.2)
    except AssertionError:
        visitors.broken.append(f"the site did not answer {plan.settling:g} s after the last fault")
    while True:
        after = _count_connections(plan, ground, visitors)
        counts = {name: (before[name], after[name]) for name in before}
        if (
            all(was + plan.webs >= now for was, now in counts.values())
            or time.monotonic() > deadline
        ):
            return counts


def _drain(plan: Plan, ground: Ground, visitors: Visitors, report: Report, ended: float) -> None:
    """Wait until all jobs have run and no lock is left."""
    deadline = time.monotonic() + plan.patience
    while time.monotonic() < deadline:
        jobs = visitors.sent.jobs
        if jobs <= {run.job for run in ledger.read(ground.ledger)}:
            report.drained = time.monotonic() - ended
            break
        time.sleep(0.5)
    while (found := _locks(ground)) and time.monotonic() < deadline:
        time.sleep(0.5)
    report.locks = found


def _locks(ground: Ground) -> list[str]:
    found: list[str] = []
    for name, pattern in LOCKS.items():
        with ground.places[name].admin() as client:
            found += client.scan_iter(pattern, 1000)
    return found


def _compare_threads(watch: Watch, began: float, report: Report) -> None:
    before = watch.most_threads(began)
    for number, now in watch.threads_now().items():
        if number in before and now > before[number]:
            report.threads[f"{watch.names[number]} ({number})"] = before[number], now


def _end(ground: Ground, report: Report) -> None:
    """Stop the site as an operator does."""
    ground.settle()  # what has just been started again would not know how to stop yet
    report.restarts = {each.name: each.starts - 1 for each in ground.site if each.starts > 1}
    for process in ground.site:
        process.signal(signal.SIGTERM)
    report.exits = {process.name: process.wait() for process in ground.site}
