"""Figures that are better seen than read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Chart"]


@dataclass(frozen=True)
class Chart:
    """Lines over a common axis.

    Args:
        title: what is shown.
        axis: what stands below it.
        unit: of the values.
        places: on the axis, in rising order; they are drawn at logarithmic distances.
        lines: by name: a value for each place, None where there is none.
    """

    title: str
    axis: str
    unit: str
    places: Sequence[float]
    lines: Mapping[str, Sequence[float | None]]

    def as_dict(self) -> dict[str, Any]:
        """Return it for `json.dumps`."""
        return {
            "title": self.title,
            "axis": self.axis,
            "unit": self.unit,
            "places": list(self.places),
            "lines": {name: list(values) for name, values in self.lines.items()},
        }
