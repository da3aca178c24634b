"""The table of claims, and the reports that it was drawn from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from redis_optimizer.management.benchmark.chart import Chart
from redis_optimizer.management.benchmark.subjects import Charted, Report, Subject
from redis_optimizer.management.benchmark.whole.claims import CLAIMS, Claim, Row, tabulate

__all__ = ["Part", "Whole", "render"]


@dataclass(frozen=True)
class Part:
    """One subject's run.

    Args:
        title: of it.
        subject: what was measured.
        report: what came of it.
    """

    title: str
    subject: Subject
    report: Report


@dataclass(frozen=True)
class Whole:
    """All that was measured.

    Args:
        rows: figures that are held against a claim.
        parts: in the order in which they ran.
    """

    rows: Sequence[Row]
    parts: Sequence[Part]

    def as_dict(self) -> dict[str, Any]:
        """Return the report for `json.dumps`."""
        return {
            "claims": [row.as_dict() for row in self.rows],
            "parts": {part.title: part.report.as_dict() for part in self.parts},
        }

    def unmeasured(self) -> Sequence[Claim]:
        """Return the claims that nothing is held against."""
        return [claim for claim in CLAIMS if claim not in {row.claim for row in self.rows}]

    def charts(self) -> Sequence[Chart]:
        """Return the charts of all parts."""
        drawn = (part.report for part in self.parts if isinstance(part.report, Charted))
        return list(chain.from_iterable(report.charts() for report in drawn))

    def sections(self) -> Mapping[str, str]:
        """Return the text of each part, by title."""
        return {part.title: part.subject.render(part.report) for part in self.parts}


def render(report: Whole) -> str:
    """Return the report as text: the claims first, then each part."""
    lines = [
        "What was claimed of the site that this package descends from, and what was measured here,",
        "plain and optimized in one run:",
        "",
        *tabulate(report.rows),
    ]
    for title, text in report.sections().items():
        lines += ["", "", title, "=" * len(title), "", text]
    return "\n".join(lines)
