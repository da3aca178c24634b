"""How fast numbers grow between two looks at the processes of a site."""

from collections.abc import Mapping
from typing import Any, Final

from redis_optimizer.stats.gathered import Gathered
from redis_optimizer.stats.metrics import number

__all__ = ["RATES", "rates"]

RATES: Final[Mapping[str, tuple[str, ...]]] = {
    "commands_sent": ("commands", "sent"),
    "commands_avoided": ("commands", "avoided"),
    "hits": ("caches", "*", "hits"),
    "misses": ("caches", "*", "misses"),
    "jobs_sent": ("jobs", "sent"),
    "jobs_ran": ("jobs", "ran"),
    "requests": ("views", "*", "requests"),
}
"""Where each of the numbers is that a rate is made of; "*" stands for all that are there."""


def rates(before: Gathered, after: Gathered, seconds: float) -> dict[str, float]:
    """Return how much was counted in a second, by all processes that answered both times.

    Args:
        before: What came of asking.
        after: The same, later.
        seconds: The time between the two.

    Returns:
        A number for each name in `RATES`.
    """
    known = {process.facts["id"]: process.totals for process in before.processes}
    pairs = [
        (known[process.facts["id"]], process.totals)
        for process in after.processes
        if process.facts["id"] in known
    ]
    return {
        name: sum(max(_count(new, path) - _count(old, path), 0) for old, new in pairs) / seconds
        for name, path in RATES.items()
    }


def _count(tree: Any, path: tuple[str, ...]) -> float:
    first, *rest = path
    if first != "*":
        tree = tree.get(first) if isinstance(tree, Mapping) else None
        return _count(tree, tuple(rest)) if rest else number({first: tree}, first)
    if not isinstance(tree, Mapping):
        return 0
    return sum(_count(part, tuple(rest)) for part in tree.values())
