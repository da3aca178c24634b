"""What this process knows of its jobs, as statistics show it."""

from typing import Any

from redis_optimizer.stats import commands
from redis_optimizer.stats.registry import register
from redis_optimizer.tasks import batching
from redis_optimizer.tasks.counts import counter

__all__ = ["batch_stats", "totals"]


def batch_stats() -> dict[str, Any]:
    """Return what waits in this process to be sent.

    Returns:
        active_batches (buffers that hold something), total_queued_jobs (held, or on their way) and
        batches_by_type: for the name of each task its "batches" and the "jobs" in them. Messages
        that are sent side by side when a ``batch()`` or a request ends are of no type: "".
    """
    waiting = batching.waiting()
    by_type: dict[str, dict[str, int]] = {}
    for task, jobs in waiting:
        found = by_type.setdefault(task, {"batches": 0, "jobs": 0})
        found["batches"] += 1
        found["jobs"] += jobs
    return {
        "active_batches": len(waiting),
        "total_queued_jobs": batching.count(),
        "batches_by_type": by_type,
    }


def totals() -> dict[str, Any]:
    """Return what was counted, and what waits now."""
    return counter.totals() | {"waiting": batch_stats()}


register("jobs", totals, counter.series)
commands.avoids("jobs", lambda: counter.series()["commands_avoided"])
