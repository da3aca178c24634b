"""How many results this process stored, and let go of."""

from redis_optimizer.core.forks import around_fork
from redis_optimizer.stats.registry import register

__all__ = ["ResultCounter", "counter"]


class ResultCounter:
    """Count results. Threads may lose a count to each other; that does no harm."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget everything. A forked child does so: what its parent counted is the parent's."""
        self.stored = 0
        self.pruned = 0
        """Those that newer ones replaced: they were deleted, or have a minute left."""

    def totals(self) -> dict[str, int]:
        """Return what was counted."""
        return {"stored": self.stored, "pruned": self.pruned}


counter = ResultCounter()
"""That of this process."""

register("results", counter.totals, counter.totals)
around_fork(after_in_child=counter.reset)
