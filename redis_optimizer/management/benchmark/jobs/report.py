"""What a benchmark of jobs found, as a table for people and as a dictionary for programs."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from redis_optimizer.management.benchmark.jobs.states import Idle, Stop
from redis_optimizer.management.benchmark.jobs.traffic import Sent

BLOCKS = "one by one in batch(), producer alone"
DUPLICATES = {
    "a duplicate, producer alone": "unique",
    "a duplicate in the same buffer": "unique-batched",
}
PRODUCER_ALONE = {BLOCKS, *DUPLICATES}


@dataclass
class Figures:
    """What was measured on one side; what was not asked for is None.

    Args:
        start_up: commands that the worker sent until it was ready.
        sent: what jobs cost, by title.
        results: stored results that outlive the grace time.
        web: connections of the web process.
        stop: a worker that was told to stop amid long jobs.
    """

    start_up: Counter[str] = field(default_factory=Counter)
    sent: dict[str, Sent] = field(default_factory=dict)
    results: int | None = None
    web: int | None = None
    stop: Stop | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the figures for `json.dumps`."""
        return {
            "worker_start_up": dict(self.start_up.most_common()),
            "traffic": {title: sent.as_dict() for title, sent in self.sent.items()},
            "stored_results": self.results,
            "web_connections": self.web,
            "stop": self.stop and self.stop.as_dict(),
        }


@dataclass(frozen=True)
class Report:
    """Both sides.

    Args:
        setting: what was measured, and on what.
        plain, ours: the figures.
        idle: idle workers, by the name of their side; the first is plain.
    """

    setting: dict[str, Any]
    plain: Figures
    ours: Figures
    idle: dict[str, Idle]

    def as_dict(self) -> dict[str, Any]:
        """Return the report for `json.dumps`."""
        return {
            **self.setting,
            "plain": self.plain.as_dict(),
            "ours": self.ours.as_dict(),
            "idle": {name: idle.as_dict() for name, idle in self.idle.items()},
        }
