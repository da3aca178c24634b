"""Figures of a report, and their place in a table."""

from __future__ import annotations

import math
from collections.abc import Sequence

__all__ = ["align", "percentile"]


def percentile(ordered: Sequence[float], percent: float) -> float | None:
    """Return the nearest-rank percentile of sorted seconds in microseconds; None of nothing."""
    if not ordered:
        return None
    return round(ordered[math.ceil(len(ordered) * percent / 100) - 1] * 1e6, 1)


def align(table: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table whose first column holds words and whose others hold figures."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if place else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in table
    ]
