"""What is known of the site: how it is found out, kept, wished for and told."""

from concurrent.futures import Future
from dataclasses import dataclass, field

from redis_optimizer.health.audience import Audience
from redis_optimizer.health.report import Report, Status

__all__ = ["Finding", "Run", "Verdict", "Wish"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """A report, as it is told to somebody.

    Args:
        report: What the checks came to.
        is_cached: No check was run for this answer.
        age: Seconds since its run began.
        kept_for: Seconds that it will still be told to this audience; 0 when it is not kept.
    """

    report: Report
    is_cached: bool
    age: float
    kept_for: float


@dataclass(frozen=True, slots=True, eq=False)
class Finding:
    """What a run came to.

    Args:
        report: The report.
        began: When the checks began, by this process's monotonic clock.
        ttls: Seconds that it is told to each audience.
        number: Of the run.
        drops: How often a verdict had been dropped before.
        is_shared: Another process ran the checks.
    """

    report: Report
    began: float
    ttls: dict[Audience, float]
    number: int
    drops: int
    is_shared: bool = False

    @property
    def is_good(self) -> bool:
        """True when the site works, be it degraded."""
        return self.report.status is not Status.FAILING


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """A run under way.

    Args:
        number: Counts the runs of this process.
        drops: How often a verdict had been dropped before.
        since: When that was last; what was seen before is not to be believed.
        is_own: It runs the checks, whatever other processes know.
        future: Will hold what it came to.
    """

    number: int
    drops: int
    since: float
    is_own: bool
    future: Future[Finding] = field(default_factory=Future)


@dataclass(slots=True)
class Wish:
    """What a caller can be answered with.

    Args:
        audience: Whom it is told to.
        max_age: Seconds that it may be old.
        drops: How often a verdict had been dropped when he called.
        is_own: Only what this process found out.
        least: The number of the first run that is new enough.
    """

    audience: Audience
    max_age: float
    drops: int
    is_own: bool
    least: int

    def accepts(self, finding: Finding, now: float) -> bool:
        """Tell whether what a run came to can be the answer."""
        if finding.is_shared and (self.is_own or now - finding.began >= self.max_age):
            return False
        is_believed = finding.drops >= self.drops or not finding.is_good
        return is_believed and finding.number >= self.least

    def insist(self, number: int) -> None:
        """Accept nothing but a run of this process from now on.

        Args:
            number: Of the first run that will do.
        """
        self.is_own, self.least = True, number
