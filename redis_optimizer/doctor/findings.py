"""What a finding is, and what it takes to make one."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from redis_optimizer.doctor.evidence import Evidence

__all__ = ["DAY", "Examination", "Finding", "Found", "Severity", "examination", "per_day"]

DAY: Final = 86_400  # seconds

_ID: Final = re.compile(r"[a-z]+(-[a-z0-9]+)*")


class Severity(StrEnum):
    """How much a finding matters."""

    ERROR = "error"
    """Data or correctness is in danger."""

    WARNING = "warning"
    """It costs commands, memory or time that it need not, or will fail under load."""

    INFO = "info"
    """Somebody may have meant it so."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """What an examination yields: all of a finding that is not the same each time.

    Args:
        what: What was found; names the alias, the setting or the server, and no secret.
        change: What to change, as it would be typed where that can be said.
        saves: Commands a day that the change saves; None where nobody can tell, or none.
        at_most: `saves` is a bound rather than an estimate.
        arithmetic: How `saves` came from what was measured, or why it cannot be told.
        severity: Where it is not that of its kind.
    """

    what: str
    change: str
    saves: float | None = None
    at_most: bool = False
    arithmetic: str = ""
    severity: Severity | None = None


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something that was found, see `Found`.

    Args:
        id: Of its kind: a word for ``--only``, ``--skip`` and the documentation.
        severity: How much it matters.
        what: What was found.
        why: Why that costs or endangers something.
        change: What to change.
        saves: Commands a day.
        at_most: `saves` is a bound.
        arithmetic: How `saves` came about.
    """

    id: str
    severity: Severity
    what: str
    why: str
    change: str
    saves: float | None = None
    at_most: bool = False
    arithmetic: str = ""

    @property
    def docs(self) -> str:
        """Where the documentation tells of it."""
        return f"doctor.html#{self.id}"

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON can hold it."""
        return {
            "id": self.id,
            "severity": str(self.severity),
            "what": self.what,
            "why": self.why,
            "change": self.change,
            "saves": None if self.saves is None else round(self.saves),
            "at_most": self.at_most,
            "arithmetic": self.arithmetic,
            "docs": self.docs,
        }


@dataclass(frozen=True)
class Examination:
    """A look for one kind of finding. Make one with `examination`.

    It only yields what it finds; where it cannot know, it raises `evidence.Unknown`. One runner,
    `examine`, makes a report of that.

    Args:
        id: Of what it finds.
        severity: Of what it finds, where that does not say otherwise.
        why: Why it matters.
        run: Yields what it finds.
    """

    id: str
    severity: Severity
    why: str
    run: Callable[[Evidence], Iterator[Found]]

    def findings(self, evidence: Evidence) -> Iterator[Finding]:
        """Yield what is found.

        Raises:
            Exception: whatever the look raises.
        """
        for found in self.run(evidence):
            yield Finding(
                id=self.id,
                severity=found.severity or self.severity,
                what=found.what,
                why=self.why,
                change=found.change,
                saves=found.saves,
                at_most=found.at_most,
                arithmetic=found.arithmetic,
            )


def examination(
    id: str, severity: Severity, why: str
) -> Callable[[Callable[[Evidence], Iterator[Found]]], Examination]:
    """Make an examination of a generator that takes the evidence.

    Args:
        id: A word in lower case, parts joined by "-".
        severity: How much its findings matter.
        why: Why they do, in one or two sentences.
    """
    if not _ID.fullmatch(id):
        raise ValueError(f"{id!r} is no id of an examination.")

    def make(run: Callable[[Evidence], Iterator[Found]]) -> Examination:
        return Examination(id, severity, why, run)

    return make


def per_day(rate: float) -> float:
    """Return how many commands a day a rate in commands per second is."""
    return rate * DAY
