"""What this process counts, from wherever it is counted.

Each part of the package registers a function that returns its totals. They are called when
somebody asks, and once in ten seconds by a thread that waits anyway: counting itself is an integer
of the part's own.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from redis_optimizer.core.counters import History
from redis_optimizer.core.forks import around_fork

__all__ = ["Registry", "register", "registry"]

logger = logging.getLogger("redis_optimizer.stats")

Totals = Callable[[], Mapping[str, Any]]
Series = Callable[[], Mapping[str, int | float]]


class Registry:
    """The sources of a process, and the history of what they counted.

    Args:
        clock: Seconds since the epoch.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._sources: dict[str, tuple[Totals, Series | None]] = {}
        self.failed = 0
        """How often a source raised an error."""
        self.reset()

    def reset(self) -> None:
        """Forget the history. A forked child does so: what its parent counted is the parent's."""
        self._lock = threading.Lock()  # another thread of the parent may have held the old one
        self._history = History()

    def register(self, name: str, totals: Totals, series: Series | None = None) -> None:
        """Add a source, or put it in the place of one with the same name.

        Args:
            name: Of its totals.
            totals: Returns them, as plain data. Keys of caches and secrets must not be in it: what
                it returns is shown to operators.
            series: Returns those numbers of which the history is kept. It is called once in ten
                seconds, so it should be quick.
        """
        self._sources[name] = (totals, series)

    def totals(self) -> dict[str, Any]:
        """Return what was counted since the process began, by source."""
        sources = list(self._sources.items())  # a part may be imported meanwhile
        return {name: self._call(name, totals) for name, (totals, _) in sources}

    def look(self) -> float:
        """Bring the history up to date.

        Returns:
            The seconds after which it is worth doing again.
        """
        with self._lock:  # around the reading, too: who reads first is to note it first
            at = self._clock()
            totals = {
                f"{name}.{key}": value
                for name, (_, series) in list(self._sources.items())
                if series is not None
                for key, value in self._call(name, series).items()
            }
            self._history.note(totals, at)
            return self._history.next_look(at)

    def history(self) -> dict[str, Any]:
        """Return the last hour, see `redis_optimizer.core.counters.History.snapshot`."""
        self.look()
        with self._lock:
            return self._history.snapshot(self._clock())

    def _call(self, name: str, source: Callable[[], Mapping[str, Any]]) -> Mapping[str, Any]:
        try:
            return source()
        except Exception as error:  # one part must not hide the others
            self.failed += 1
            logger.debug("The statistics of %s could not be read: %r", name, error)
            return {}


registry: Final = Registry()
"""That of this process."""

register = registry.register

around_fork(after_in_child=registry.reset)
