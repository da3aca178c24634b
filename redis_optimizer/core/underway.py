"""Which loads are under way, and whether what they make may still be kept."""

import threading
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager

__all__ = ["Underway"]


class Underway:
    """The loads that began before the last `void` of their key may not keep what they make."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._marks: dict[Hashable, set[object]] = {}

    @contextmanager
    def load(self, key: Hashable) -> Iterator[Callable[[], bool]]:
        """Yield what tells whether the load inside the block is still good."""
        mark = object()
        with self._lock:
            self._marks.setdefault(key, set()).add(mark)
        try:
            yield lambda: mark in self._marks.get(key, ())
        finally:
            with self._lock:
                marks = self._marks.get(key, set())
                marks.discard(mark)
                if not marks:
                    self._marks.pop(key, None)

    def void(self, key: Hashable) -> None:
        """Say that what the loads under way have read may be out of date."""
        with self._lock:
            self._marks.pop(key, None)
