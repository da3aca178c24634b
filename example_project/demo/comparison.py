"""The figures of the two runs of a comparison, and what was wrong with them."""

import statistics
from collections import Counter
from dataclasses import dataclass
from typing import Any

from .traffic import DEADLINE, Spread
from .visitor import Traffic
from .work import Work


@dataclass(frozen=True, slots=True)
class Stop:
    """How the worker stopped.

    Args:
        status: its exit status.
        seconds: it took.
        left: messages that were queued or not acknowledged then.
    """

    status: int | None
    seconds: float
    left: int

    def find_faults(self) -> list[str]:
        """Return what went wrong, in words."""
        found = []
        if self.status != 0:
            found.append(f"the worker stopped with exit status {self.status}")
        if self.left:
            found.append(f"{self.left} messages were left when the worker had stopped")
        return found


@dataclass(frozen=True, slots=True)
class Run:
    """What one site did and what it cost.

    Args:
        name: what the site runs on.
        traffic: what the visitors did and saw while commands were counted.
        cache, jobs: commands that were sent in that time for either, by name.
        sent: calls in that time that sent a job; those of a warm-up are in `work`.
        connections: that the site had when the last job had run.
        spread: how changes reached all processes, followed afterwards and not counted.
        work: what became of all jobs.
        stop: how the worker stopped.
    """

    name: str
    traffic: Traffic
    cache: Counter[str]
    jobs: Counter[str]
    sent: int
    connections: int
    spread: Spread
    work: Work
    stop: Stop

    @property
    def requests(self) -> int:
        """Return the number of requests."""
        return self.traffic.requests.total()

    @property
    def commands(self) -> int:
        """Return the number of commands."""
        return (self.cache + self.jobs).total()

    @property
    def per_request(self) -> float:
        """Return commands per request."""
        return self.commands / max(self.requests, 1)

    @property
    def cache_per_request(self) -> float:
        """Return the cache's commands per request."""
        return self.cache.total() / max(self.requests, 1)

    @property
    def per_job(self) -> float:
        """Return the commands per job."""
        return self.jobs.total() / max(self.sent, 1)

    def latency(self, percent: int) -> float:
        """Return a percentile of the response time in milliseconds."""
        seconds = self.traffic.seconds
        return 1000 * statistics.quantiles(seconds, n=100)[percent - 1] if seconds[1:] else 0.0

    def find_faults(self) -> list[str]:
        """Return what went wrong, in words."""
        counted = Counter(self.traffic.failures + self.traffic.stale + self.spread.faults)
        found = [f"{self.name}: {count} x {what}" for what, count in counted.most_common()]
        if self.spread.missed:
            found.append(f"{self.name}: {self.spread.missed} changes not shown in {DEADLINE:.0f} s")
        if not self.traffic.changes:
            found.append(f"{self.name}: nothing was changed, so nothing is proved")
        faults = self.work.find_faults() + self.stop.find_faults()
        return found + [f"{self.name}: {fault}" for fault in faults]

    def as_dict(self) -> dict[str, Any]:
        """Return the figures for JSON."""
        return {
            "requests": self.requests,
            "requests_by_kind": dict(self.traffic.requests),
            "commands": self.commands,
            "commands_per_request": round(self.per_request, 4),
            "cache_commands": dict(self.cache.most_common()),
            "cache_commands_per_request": round(self.cache_per_request, 4),
            "job_commands": dict(self.jobs.most_common()),
            "job_commands_per_job": round(self.per_job, 4),
            "connections": self.connections,
            "jobs": self.work.sent,
            "jobs_meanwhile": self.sent,
            "views": self.work.views,
            "views_counted": self.work.counted,
            "integrations_not_synced": self.work.unsynced,
            "worker_exit_status": self.stop.status,
            "worker_seconds_to_stop": round(self.stop.seconds, 2),
            "messages_left": self.stop.left,
            "latency_ms": {"p50": round(self.latency(50), 2), "p99": round(self.latency(99), 2)},
            "changes": self.traffic.changes,
            "failures": len(self.traffic.failures),
            "stale_own_reads": len(self.traffic.stale),
            "changes_followed": self.spread.changes,
            "changes_missed": self.spread.missed,
            "slowest_change_ms": round(1000 * self.spread.slowest, 1),
        }


@dataclass(frozen=True, slots=True)
class Comparison:
    """Both runs.

    Args:
        plain, optimized: one of each.
        warm_up: seconds of the same traffic before anything was counted, on both sites alike.
    """

    plain: Run
    optimized: Run
    warm_up: float = 0

    @property
    def cache_saving(self) -> float:
        """Return the cache's commands saved per request, in percent."""
        return _saving(self.plain.cache_per_request, self.optimized.cache_per_request)

    @property
    def job_saving(self) -> float:
        """Return the commands saved per job, in percent."""
        return _saving(self.plain.per_job, self.optimized.per_job)

    @property
    def saving(self) -> float:
        """Return all commands saved per request, in percent."""
        return _saving(self.plain.per_request, self.optimized.per_request)

    def find_faults(self) -> list[str]:
        """Return what went wrong in either run, in words; empty when all is well."""
        found = self.plain.find_faults() + self.optimized.find_faults()
        for what, saving in (("the cache", self.cache_saving), ("jobs", self.job_saving)):
            if saving <= 0:
                found.append(f"no commands were saved for {what} ({saving:.1f} %)")
        return found

    def as_dict(self) -> dict[str, Any]:
        """Return the figures for JSON."""
        return {
            "warm_up_seconds": self.warm_up,
            "plain": self.plain.as_dict(),
            "optimized": self.optimized.as_dict(),
            "saving_percent": round(self.saving, 2),
            "cache_saving_percent": round(self.cache_saving, 2),
            "job_saving_percent": round(self.job_saving, 2),
            "faults": self.find_faults(),
        }


def _saving(plain: float, optimized: float) -> float:
    return 100 * (1 - optimized / plain) if plain else 0.0
