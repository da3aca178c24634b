"""Times, as every format writes them."""

from datetime import UTC, datetime

__all__ = ["milliseconds", "timestamp"]


def timestamp(seconds: float) -> str:
    """Return a time since the epoch in ISO 8601, in UTC: ``2026-11-26T18:41:20.123Z``."""
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def milliseconds(seconds: float) -> float:
    """Return a duration in milliseconds, to a microsecond."""
    return round(seconds * 1000, 3)
