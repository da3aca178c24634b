"""The doctor's report as a person reads it."""

from collections.abc import Iterator
from textwrap import fill
from typing import Final

from redis_optimizer.doctor.findings import Finding
from redis_optimizer.doctor.report import Report

__all__ = ["as_text"]

WIDTH: Final = 100


def as_text(report: Report) -> str:
    """Return what was found, what was looked at, and what that cost."""
    parts = ["\n".join(_lines(number, each)) for number, each in enumerate(report.findings, 1)]
    if not parts:
        parts = [f"Nothing was found{' in what could be looked at' if report.unknown else ''}."]
    if report.unknown:
        parts.append("\n".join(f"Could not look at {each}" for each in report.unknown))
    parts.append(
        _wrap(
            f"Looked at: {', '.join(report.looked_at)}; the servers were watched for "
            f"{report.seconds:.1f} s. The look cost {report.commands} commands.",
            "",
        )
    )
    return "\n\n".join(parts)


def _lines(number: int, finding: Finding) -> Iterator[str]:
    saves = ""
    if finding.saves:
        bound = "up to " if finding.at_most else ""
        saves = f"  saves {bound}{finding.saves:,.0f} commands a day"
    yield f"{number}. {finding.severity.upper()}  {finding.id}{saves}"
    yield _wrap(finding.what)
    yield _wrap(f"Why: {finding.why}")
    yield _wrap(f"Change: {finding.change}")
    if finding.arithmetic:
        yield _wrap(f"Gain: {finding.arithmetic}")


def _wrap(text: str, indent: str = "   ") -> str:
    # A setting must stay as it would be typed: no word is broken.
    return fill(
        text,
        WIDTH,
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
