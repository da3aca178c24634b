"""Six claims, and the figures that are held against them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from redis_optimizer.management.benchmark.cache.report import Report as CacheReport
from redis_optimizer.management.benchmark.endpoints.report import Report as EndpointsReport
from redis_optimizer.management.benchmark.figures import align
from redis_optimizer.management.benchmark.jobs.report import Report as JobsReport

__all__ = ["CLAIMS", "Claim", "Row", "hold_cache", "hold_endpoints", "hold_jobs", "tabulate"]

KEPT = "results kept, in batches"
DUPLICATE = "a duplicate, producer alone"


class Claim(NamedTuple):
    """What the report promised.

    Args:
        title: of the row.
        least, most: percent that are saved; the same where it named one figure.
    """

    title: str
    least: float
    most: float

    def __str__(self) -> str:
        """Return it as the report had it."""
        if self.least == self.most:
            return f"{self.least:g} %"
        return f"{self.least:g} to {self.most:g} %"


QUEUES = Claim("queue commands", 50, 50)
DUPLICATES = Claim("duplicate jobs", 100, 100)  # "deduplicated by id": none is left
API = Claim("API commands", 60, 80)
HEALTH = Claim("health checks", 75, 75)
CONNECTIONS = Claim("connections", 60, 60)
TIME = Claim("response time", 80, 95)
CLAIMS = (QUEUES, DUPLICATES, API, HEALTH, CONNECTIONS, TIME)


@dataclass(frozen=True)
class Row:
    """One claim and what was measured.

    Args:
        claim: of CLAIMS.
        plain, ours: the figures; less is better.
        unit: what they count.
    """

    claim: Claim
    plain: float
    ours: float
    unit: str

    @property
    def saved(self) -> float | None:
        """Return the percent saved; None where there was nothing to save."""
        return 100 * (1 - self.ours / self.plain) if self.plain else None

    @property
    def holds(self) -> bool:
        """Return whether the claim is exceeded, or met where more is not possible."""
        if self.saved is None:
            return False
        return self.saved > self.claim.most or self.saved == self.claim.most == 100

    def as_dict(self) -> dict[str, Any]:
        """Return the figures for `json.dumps`."""
        return {
            "claim": self.claim.title,
            "claimed_percent": [self.claim.least, self.claim.most],
            "plain": self.plain,
            "optimized": self.ours,
            "unit": self.unit,
            "saved_percent": None if self.saved is None else round(self.saved, 2),
            "exceeded": self.holds,
        }


def hold_cache(report: CacheReport) -> Iterator[Row]:
    """Yield the row of a read, a hit or a miss: its median in the benchmark of the cache."""
    plain, ours = (row.as_dict()["p50_us"] for row in report.rows[:2])
    if plain is not None and ours is not None:
        yield Row(TIME, plain, ours, "us for a read of the cache, median, misses included")


def hold_jobs(report: JobsReport) -> Iterator[Row]:
    """Yield the rows of jobs: what one costs, the duplicates that are queued, and connections."""
    plain, ours = report.plain, report.ours
    if KEPT in ours.sent:
        left, right = (round(side.sent[KEPT].per_job, 4) for side in (plain, ours))
        yield Row(QUEUES, left, right, "commands for a job whose result is kept")
    if DUPLICATE in ours.sent:
        sent, queued = plain.sent[DUPLICATE], ours.sent[DUPLICATE].queued
        yield Row(DUPLICATES, sent.queued, queued, f"of {sent.jobs:,} duplicates queued")
    if ours.web is not None and plain.web is not None:
        threads = report.setting["threads"]
        yield Row(CONNECTIONS, plain.web, ours.web, f"of a web process with {threads} threads")


def hold_endpoints(report: EndpointsReport, claim: Claim) -> Iterator[Row]:
    """Yield the row of endpoints: their commands, switched off and as they are decorated."""
    off, *_, decorated = (row.commands.total() for row in report.rows)
    yield Row(claim, off, decorated, f"commands for {report.setting['requests']:,} requests")


def tabulate(rows: Sequence[Row]) -> list[str]:
    """Return the lines of the table; a claim without a figure has its place all the same."""
    measured = {row.claim: row for row in rows}
    table = [["", "claimed", "plain", "optimized", "saved", "exceeded", ""]]
    for claim in CLAIMS:
        row = measured.get(claim)
        if row is None:
            table.append([claim.title, str(claim), "-", "-", "-", "-", "not measured"])
            continue
        saved = "-" if row.saved is None else f"{row.saved:.1f} %"
        exceeded = "yes" if row.holds else "NO"
        figures = [_number(row.plain), _number(row.ours)]
        table.append([claim.title, str(claim), *figures, saved, exceeded, row.unit])
    return align(table)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:,.2f}"
