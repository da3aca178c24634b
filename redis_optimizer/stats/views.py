"""How often each view was asked, how it answered and how long that took."""

import threading
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from redis_optimizer.conf import get_settings
from redis_optimizer.core.forks import around_fork
from redis_optimizer.stats.costs import Costs
from redis_optimizer.stats.registry import register

__all__ = ["NO_VIEW", "OTHERS", "ViewCounter", "counter"]

NO_VIEW: Final = "(none)"
"""Stands for the view of a request that none was found for, or that a middleware answered."""

OTHERS: Final = "(others)"
"""Stands for all views beyond VIEWS_COUNTED."""


@dataclass(slots=True)
class View:
    """What was counted of one view."""

    requests: int = 0
    responses: dict[str, int] = field(
        default_factory=lambda: {"2xx": 0, "3xx": 0, "4xx": 0, "5xx": 0}
    )
    exceptions: int = 0
    seconds: float = 0.0
    measured: int = 0
    hits: int = 0
    trips: int = 0


class ViewCounter:
    """Count the requests of each view, from any thread."""

    def __init__(self) -> None:
        self.reset()

    def count(
        self,
        name: str,
        status: int | None,
        seconds: float,
        *,
        failed: bool = False,
        costs: Costs | None = None,
    ) -> None:
        """Count a request.

        Args:
            name: The view.
            status: The response's; None when there was none, because the client went away, say.
            seconds: How long it took.
            failed: The view raised what nobody handled.
            costs: What it cost, where that was measured.
        """
        with self._lock:
            view = self._views.get(name) or self._add(name)
            view.requests += 1
            view.seconds += seconds
            if status is not None:
                kind = f"{status // 100}xx"
                view.responses[kind] = view.responses.get(kind, 0) + 1
            if failed:
                view.exceptions += 1
            if costs is not None:
                view.measured += 1
                view.hits += costs.hits
                view.trips += costs.trips

    def snapshot(self) -> dict[str, dict[str, Any]]:
        """Return what was counted, as plain data.

        Returns:
            For each view its requests, responses (by "2xx" to "5xx"), exceptions and seconds (the
            total); and measured: the requests of which hits (reads answered in the process) and
            trips (calls that went to Redis) tell.
        """
        with self._lock:
            return {name: asdict(view) for name, view in self._views.items()}

    def reset(self) -> None:
        """Forget everything. A forked child does so: what its parent counted is the parent's."""
        self._lock = threading.Lock()  # another thread of the parent may have held the old one
        self._views: dict[str, View] = {}

    def _add(self, name: str) -> View:
        named = len(self._views) - (NO_VIEW in self._views) - (OTHERS in self._views)
        if name != NO_VIEW and named >= get_settings().VIEWS_COUNTED:
            name = OTHERS
        return self._views.setdefault(name, View())


counter: Final = ViewCounter()
"""That of this process."""

register("views", counter.snapshot)
around_fork(after_in_child=counter.reset)
