"""The jobs of the benchmark. On a plain site the same names are ordinary tasks."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from redis_optimizer.management.benchmark.jobs.app import app
from redis_optimizer.management.benchmark.jobs.ledger import Ledger
from redis_optimizer.management.benchmark.jobs.order import SECONDS, read_order

if TYPE_CHECKING:
    from redis_optimizer.tasks import Job

FAILS = 10  # every so many-th job of `sometimes` fails
UNSENT = 600.0  # seconds that nothing but a full buffer, or the process's end, sends a buffer

ORDER = read_order()
ledger = Ledger(ORDER.ledger)


def note(number: int) -> int:
    """Note that the job ran."""
    ledger.note([number])
    return number


def note_all(jobs: list[Job]) -> None:
    """Note that the jobs ran."""
    ledger.note([job.args[0] for job in jobs])


def note_or_fail(number: int) -> int:
    """Note that the job ran; some fail."""
    ledger.note([number])
    if number % FAILS == 0:
        raise ValueError(number)
    return number


def note_slowly(number: int) -> int:
    """Take a while, then note that the job ran."""
    time.sleep(SECONDS)
    return note(number)


# name: what it calls on a plain site and on ours, the result, and the options of OptimizedTask.
BATCHED = {"batch_size": ORDER.batch_size}
TASKS: dict[str, tuple[Any, Any, bool, dict[str, Any]]] = {
    "ignored": (note, note, False, BATCHED),
    "kept": (note, note, True, BATCHED),
    "bulk-ignored": (note, note_all, False, {**BATCHED, "bulk": True}),
    "bulk-kept": (note, note_all, True, {**BATCHED, "bulk": True}),
    "single-ignored": (note, note, False, {}),
    "single-kept": (note, note, True, {}),
    "sometimes": (note_or_fail, note_or_fail, True, BATCHED),
    "slow": (note_slowly, note_slowly, False, BATCHED),
    # As a site would count page views: a second late is soon enough.
    "usage": (note, note_all, False, {**BATCHED, "bulk": True, "batch_timeout": 1.0}),
    "unique": (note, note, True, {"dedup": "until_executed"}),
    "unique-batched": (
        *(note, note, True),
        {"dedup": "until_executed", "batch_size": 10_000, "batch_timeout": UNSENT},
    ),
}


def declare(name: str) -> None:
    """Make the task of that name."""
    plain, ours, keep, options = TASKS[name]
    common: dict[str, Any] = {"name": name, "acks_late": True, "ignore_result": not keep}
    task: Any = app.task  # its types know no options of ours
    if ORDER.plain:
        task(**common)(plain)
    else:
        from redis_optimizer.tasks import OptimizedTask

        task(base=OptimizedTask, **common, **options)(ours)


for each in TASKS:
    declare(each)
