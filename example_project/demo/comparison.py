"""The figures of the two runs of a comparison, and what was wrong with them."""

import statistics
from collections import Counter
from dataclasses import dataclass
from typing import Any

from .traffic import DEADLINE, Spread
from .visitor import Traffic


@dataclass(frozen=True, slots=True)
class Run:
    """What one site did and what it cost.

    Args:
        name: the cache behind the site.
        traffic: what the visitors did and saw while commands were counted.
        commands: the server's count in that time, by command.
        spread: how changes reached all processes, followed afterwards and not counted.
    """

    name: str
    traffic: Traffic
    commands: Counter[str]
    spread: Spread

    @property
    def requests(self) -> int:
        """Return the number of requests."""
        return self.traffic.requests.total()

    @property
    def per_request(self) -> float:
        """Return commands per request."""
        return self.commands.total() / max(self.requests, 1)

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
        return found

    def as_dict(self) -> dict[str, Any]:
        """Return the figures for JSON."""
        return {
            "requests": self.requests,
            "requests_by_kind": dict(self.traffic.requests),
            "commands": self.commands.total(),
            "commands_by_name": dict(self.commands.most_common()),
            "commands_per_request": round(self.per_request, 4),
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
    """Both runs."""

    plain: Run
    tiered: Run

    @property
    def saving(self) -> float:
        """Return the commands saved per request, in percent."""
        if not self.plain.per_request:
            return 0.0
        return 100 * (1 - self.tiered.per_request / self.plain.per_request)

    def find_faults(self) -> list[str]:
        """Return what went wrong in either run, in words; empty when all is well."""
        found = self.plain.find_faults() + self.tiered.find_faults()
        if self.saving <= 0:
            found.append(f"no commands were saved ({self.saving:.1f} %)")
        return found

    def as_dict(self) -> dict[str, Any]:
        """Return the figures for JSON."""
        return {
            "plain": self.plain.as_dict(),
            "tiered": self.tiered.as_dict(),
            "saving_percent": round(self.saving, 2),
            "faults": self.find_faults(),
        }
