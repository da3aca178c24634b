"""How costs grew, as text, as charts, and as a dictionary for programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from redis_optimizer.management.benchmark.chart import Chart
from redis_optimizer.management.benchmark.figures import align

__all__ = ["Curve", "Report", "render"]


@dataclass(frozen=True)
class Curve:
    """One thing that was measured at several sizes.

    Args:
        title: what it is.
        axis: what grows.
        unit: of the values.
        expected: how it should grow.
        points: by size: the value of each line, by name.
    """

    title: str
    axis: str
    unit: str
    expected: str
    points: Mapping[int, Mapping[str, float]]

    @property
    def names(self) -> Sequence[str]:
        """Return the names of the lines."""
        return list(next(iter(self.points.values()), {}))

    def as_dict(self) -> dict[str, Any]:
        """Return plain numbers."""
        return {
            "title": self.title,
            "axis": self.axis,
            "unit": self.unit,
            "expected": self.expected,
            "points": {str(size): dict(values) for size, values in self.points.items()},
        }

    def as_chart(self) -> Chart:
        """Return it as a chart."""
        lines = {name: [each.get(name) for each in self.points.values()] for name in self.names}
        return Chart(self.title, self.axis, self.unit, list(self.points), lines)

    def as_text(self) -> list[str]:
        """Return the lines of its table."""
        first = next(iter(self.points.values()))
        table = [[self.axis, *self.names, "of the first"]]
        for size, values in self.points.items():
            ratio = values[self.names[0]] / first[self.names[0]]
            table.append([f"{size:,}", *map(_number, values.values()), f"{ratio:.2f}"])
        return [f"{self.title}, in {self.unit}; it should {self.expected}", *align(table)]


@dataclass(frozen=True)
class Report:
    """All curves, and what they were measured on."""

    setting: Mapping[str, Any]
    curves: Sequence[Curve]

    def as_dict(self) -> dict[str, Any]:
        """Return the report for `json.dumps`."""
        return {**self.setting, "curves": [curve.as_dict() for curve in self.curves]}

    def charts(self) -> Sequence[Chart]:
        """Return a chart for each curve."""
        return [curve.as_chart() for curve in self.curves]


def render(report: Report) -> str:
    """Return the report as text."""
    setting = report.setting
    lines = [f"{setting['server']}, Python {setting['python']}, {setting['cores']} cores"]
    for curve in report.curves:
        lines += ["", *curve.as_text()]
    return "\n".join(lines)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"
