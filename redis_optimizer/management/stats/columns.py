"""Numbers and tables as a person reads them."""

from collections.abc import Sequence
from typing import Final

from redis_optimizer.management.benchmark.figures import align
from redis_optimizer.stats.metrics import number

__all__ = ["as_bytes", "as_duration", "as_share", "as_table", "number"]

_UNITS: Final = ("B", "KiB", "MiB", "GiB")


def as_share(part: float, whole: float) -> str:
    """Return how much of a whole a part is; "-" of nothing."""
    return f"{100 * part / whole:.1f} %" if whole else "-"


def as_bytes(size: float) -> str:
    """Return a number of bytes in the unit that it reads best in."""
    for unit in _UNITS[:-1]:
        if size < 1024:
            return f"{size:,.0f} {unit}"
        size /= 1024
    return f"{size:,.1f} {_UNITS[-1]}"


def as_duration(seconds: float) -> str:
    """Return a time in the unit that it reads best in."""
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


def as_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table; the first column is for names, the others are for numbers."""
    return "\n".join(align([head, *rows]))
