"""What the doctor says."""

from dataclasses import dataclass
from typing import Any

from redis_optimizer.doctor.findings import Finding, Severity

__all__ = ["Report"]


@dataclass(frozen=True, kw_only=True)
class Report:
    """What was found.

    Args:
        findings: What endangers data first, then what saves most.
        unknown: What could not be looked at, and why.
        looked_at: What was looked at.
        seconds: For which the servers were watched.
        commands: What the look cost.
    """

    findings: tuple[Finding, ...] = ()
    unknown: tuple[str, ...] = ()
    looked_at: tuple[str, ...] = ()
    seconds: float = 0.0
    commands: int = 0

    def at_least(self, severity: Severity) -> list[Finding]:
        """Return the findings that matter as much as this, or more."""
        ranks = list(Severity)
        return [
            each for each in self.findings if ranks.index(each.severity) <= ranks.index(severity)
        ]

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON can hold it."""
        return {
            "findings": [each.as_dict() for each in self.findings],
            "unknown": list(self.unknown),
            "looked_at": list(self.looked_at),
            "seconds": round(self.seconds, 3),
            "commands": self.commands,
        }
