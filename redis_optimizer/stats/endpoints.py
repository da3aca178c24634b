"""How often decorated views and verdicts were asked, and how often something ran for it."""

from dataclasses import asdict, dataclass
from typing import Any, Final

from redis_optimizer.core.forks import around_fork
from redis_optimizer.stats.registry import register

__all__ = ["Endpoint", "counts_of", "series", "totals"]

MAX_ENDPOINTS: Final = 500
"""Names that are told apart; all others are counted as one."""

OTHERS: Final = "(others)"


@dataclass(slots=True)
class Endpoint:
    """What was counted of one. Threads may lose a count to each other; that does no harm."""

    hits: int = 0
    """Answers that were known."""

    runs: int = 0
    """Answers that were made."""

    joined: int = 0
    """Answers that another caller was already having made."""

    stale: int = 0
    """Answers past their time, because making one failed."""

    def add(self, state: str, *, joined: bool = False) -> None:
        """Count an answer.

        Args:
            state: "hit", "miss" or "stale".
            joined: It was made for another caller.
        """
        if state == "hit":
            self.hits += 1
        elif state == "stale":
            self.stale += 1
        elif joined:
            self.joined += 1
        else:
            self.runs += 1


_endpoints: dict[str, Endpoint] = {}


def counts_of(name: str) -> Endpoint:
    """Return where to count what has a name."""
    if name not in _endpoints and len(_endpoints) >= MAX_ENDPOINTS:
        name = OTHERS
    return _endpoints.setdefault(name, Endpoint())


def totals() -> dict[str, Any]:
    """Return what was counted, for each that was asked."""
    shown = {name: asdict(endpoint) for name, endpoint in list(_endpoints.items())}
    return {name: counts for name, counts in shown.items() if any(counts.values())}


def series() -> dict[str, int]:
    """Return what the history follows: of all together."""
    endpoints = list(_endpoints.values())
    return {
        "hits": sum(endpoint.hits for endpoint in endpoints),
        "runs": sum(endpoint.runs for endpoint in endpoints),
    }


def _reset() -> None:
    for endpoint in _endpoints.values():
        endpoint.__init__()  # type: ignore[misc]  # those who count hold the objects


register("endpoints", totals, series)
around_fork(after_in_child=_reset)
