"""The commands that this process sent, and those that it did not have to send."""

from collections.abc import Callable
from typing import Any

from redis_optimizer.connections import open_connections, sent
from redis_optimizer.stats.registry import register

__all__ = ["avoids", "connections", "series", "totals"]

_avoiders: dict[str, Callable[[], int]] = {}


def avoids(name: str, count: Callable[[], int]) -> None:
    """Say what else lets commands be unnecessary.

    Args:
        name: Of the part.
        count: Returns how many it avoided so far.
    """
    _avoiders[name] = count


def totals() -> dict[str, Any]:
    """Return the commands of this process.

    Returns:
        sent (those that were counted, see `redis_optimizer.connections.counting`), avoided, by
        (those sent, by what their connections are for) and avoided_by (the others, by part).
    """
    by = sent()
    avoided_by = {name: count() for name, count in _avoiders.items()}
    return {
        "sent": sum(by.values()),
        "avoided": sum(avoided_by.values()),
        "by": by,
        "avoided_by": avoided_by,
    }


def series() -> dict[str, int]:
    """Return what the history follows."""
    counted = totals()
    return {"sent": counted["sent"], "avoided": counted["avoided"]}


def connections() -> dict[str, Any]:
    """Return the open connections of this process, together and by what they are for."""
    by = open_connections()
    return {"open": sum(by.values()), "by": by}


register("commands", totals, series)
register("connections", connections)
