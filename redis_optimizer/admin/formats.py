"""Numbers as the page's language writes them."""

from datetime import UTC, datetime, timedelta
from typing import Final

from django.template.defaultfilters import filesizeformat
from django.utils.formats import number_format
from django.utils.timesince import timesince

__all__ = ["NOTHING", "count", "decimal", "milliseconds", "share", "size", "span"]

NOTHING: Final = "-"
"""Stands for a number that there is none of: a share of nothing, say."""

_NARROW: Final = "\N{NO-BREAK SPACE}"


def count(number: float) -> str:
    """Return a whole number."""
    return str(number_format(round(number), use_l10n=True, force_grouping=True))


def decimal(number: float, places: int = 1) -> str:
    """Return a number with some places after the point."""
    return str(number_format(f"{number:.{places}f}", use_l10n=True, force_grouping=True))


def share(part: float, whole: float) -> str:
    """Return how much of a whole a part is."""
    return f"{decimal(100 * part / whole)}{_NARROW}%" if whole else NOTHING


def size(number: float) -> str:
    """Return a number of bytes."""
    return str(filesizeformat(number))


def milliseconds(seconds: float) -> str:
    """Return a short time."""
    return f"{decimal(1000 * seconds)}{_NARROW}ms"


def span(seconds: float, depth: int = 1) -> str:
    """Return a long time, in its largest units.

    Args:
        seconds: How long.
        depth: How many units.
    """
    end = datetime(2020, 1, 1, tzinfo=UTC)  # any: a length has no date
    return str(timesince(end - timedelta(seconds=max(seconds, 0)), end, depth=depth))
