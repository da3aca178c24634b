"""The last hour, as the charts draw it and as a table tells it."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from django.utils.formats import time_format
from django.utils.timezone import localtime

from redis_optimizer.admin.formats import NOTHING, count, decimal, share
from redis_optimizer.core.counters import STEP, STEPS

__all__ = ["as_charts", "as_rows"]

Line = list[float]

ROW: Final = 30
"""Steps that one row of the table tells of: five minutes."""

_NAMES: Final = {
    "sent": ("commands.sent",),
    "avoided": ("commands.avoided",),
    "hits": ("caches.hits",),
    "reads": ("caches.hits", "caches.misses"),
    "jobs": ("jobs.sent",),
    "batches": ("jobs.sendings",),
}


def as_charts(history: Mapping[str, Any], at: float, since: float) -> dict[str, Any]:
    """Return what the charts are drawn from.

    Args:
        history: See `redis_optimizer.core.counters.merge`.
        at: Seconds since the epoch.
        since: When the first process began that tells of it, likewise.

    Returns:
        step (seconds), begins (of the first step) and, of one length each: sent and avoided
        (commands a second), ratio (hits in percent of reads) and batch (jobs that left together).
        Where there was nothing to tell of, or nobody yet who would tell, None.
    """
    lines, begins = _lines(history, at)
    untold = _untold(begins, since)
    return {
        "step": STEP,
        "begins": begins,
        **{
            name: [None] * untold + [round(value / STEP, 2) for value in lines[name][untold:]]
            for name in ("sent", "avoided")
        },
        "ratio": _quotients(lines["hits"], lines["reads"], 100),
        "batch": _quotients(lines["jobs"], lines["batches"], 1),
    }


def as_rows(history: Mapping[str, Any], at: float, since: float) -> list[dict[str, str]]:
    """Return the same in steps of five minutes, the last first, as text."""
    lines, begins = _lines(history, at)
    untold = _untold(begins, since)
    rows = []
    for first in range(0, STEPS, ROW):
        summed = {name: sum(line[first : first + ROW]) for name, line in lines.items()}
        batches, is_told = summed["batches"], first + ROW > untold
        rows.append(
            {
                "since": _time(begins + first * STEP),
                "until": _time(begins + (first + ROW) * STEP),
                "sent": count(summed["sent"]) if is_told else NOTHING,
                "avoided": count(summed["avoided"]) if is_told else NOTHING,
                "ratio": share(summed["hits"], summed["reads"]),
                "batch": decimal(summed["jobs"] / batches) if batches else NOTHING,
            }
        )
    return rows[::-1]


def _lines(history: Mapping[str, Any], at: float) -> tuple[dict[str, Line], float]:
    """Return each sum of series over the last hour, and when that began."""
    last = int(at // STEP)  # that step is not over yet: it is not shown
    first = last - STEPS
    offset = round(history["begins"] / STEP) - first
    lines = {name: [0.0] * STEPS for name in _NAMES}
    for name, summed in _NAMES.items():
        for each in summed:
            for place, value in enumerate(history["series"].get(each, ()), offset):
                if 0 <= place < STEPS:
                    lines[name][place] += value
    return lines, first * STEP


def _untold(begins: float, since: float) -> int:
    """Return how many steps were over before anybody could tell of them."""
    return min(max(int((since - begins) // STEP), 0), STEPS)


def _quotients(parts: Sequence[float], wholes: Sequence[float], factor: int) -> list[float | None]:
    return [
        round(factor * part / whole, 2) if whole else None
        for part, whole in zip(parts, wholes, strict=True)
    ]


def _time(at: float) -> str:
    return time_format(localtime(datetime.fromtimestamp(at, UTC)), "TIME_FORMAT")
