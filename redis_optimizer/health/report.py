"""What came of the checks: a result for each, and the report that they make together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, NamedTuple

__all__ = ["Observation", "Report", "Result", "Status"]


class Status(StrEnum):
    """The state of a part of the site, or of all of it, in the words that are shown."""

    OK = "ok"
    DEGRADED = "degraded"
    """Worse than it should be; the site works."""
    FAILING = "failing"


_SEVERITY: Final = (Status.OK, Status.DEGRADED, Status.FAILING)


class Observation(NamedTuple):
    """A value that a check has seen.

    Args:
        value: A number or a text.
        unit: Of a number, such as "messages", "bytes", "percent" or "s".
    """

    value: float | str
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Result:
    """What one check came to.

    Args:
        name: Of the check.
        component: Its type: "datastore", "component" or "system", as the IETF's draft has it.
        status: The state of what was checked.
        seconds: How long it took.
        checked_at: When it ended, in seconds since the epoch.
        observed: What it saw, by name.
        error: Why it is not OK, for staff alone; empty where it is.
        is_defect: The check itself is broken, so that nothing is known of what it is about.
    """

    name: str
    component: str
    status: Status
    seconds: float
    checked_at: float
    observed: Mapping[str, Observation] = field(default_factory=dict)
    error: str = ""
    is_defect: bool = False


@dataclass(frozen=True, slots=True)
class Report:
    """What one run of all checks came to.

    Args:
        results: One for each check.
        seconds: How long they took together.
        checked_at: When the run began, in seconds since the epoch.
    """

    results: Sequence[Result]
    seconds: float
    checked_at: float

    @property
    def status(self) -> Status:
        """The worst of all; OK where nothing is checked."""
        return max(
            (result.status for result in self.results), key=_SEVERITY.index, default=Status.OK
        )

    @property
    def is_defective(self) -> bool:
        """True when a check itself is broken: it is kept no longer than a failing report."""
        return any(result.is_defect for result in self.results)
