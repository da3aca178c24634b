"""The request headers that the responses of a view depend on: learnt from what it returns."""

import threading
from collections.abc import Iterable
from typing import Any, Final

from django.http import HttpRequest

__all__ = ["AUTHORIZATION", "Headers"]

AUTHORIZATION: Final = "HTTP_AUTHORIZATION"

MOST: Final = 16
"""Headers that the responses of one view may depend on."""


class Headers:
    """The headers of one view. They are only ever added to.

    Args:
        names: Those that are known from the beginning, as ``META`` has them.
    """

    def __init__(self, *names: str) -> None:
        self.names = names
        self._lock = threading.Lock()

    def learn(self, names: Iterable[str]) -> bool:
        """Add what a response's Vary header names.

        Returns:
            False where it would be too many.
        """
        if not names:
            return True
        new = {f"HTTP_{name.upper().replace('-', '_')}" for name in names}
        with self._lock:
            all_names = (*self.names, *sorted(new.difference(self.names)))
            if len(all_names) > MOST:
                return False
            self.names = all_names
        return True

    def values(self, request: HttpRequest) -> tuple[Any, ...]:
        """Return what a request has for each."""
        meta = request.META
        return tuple([meta.get(name) for name in self.names])

    def are_newer(self, values: tuple[Any, ...]) -> bool:
        """Tell whether more are known than when these values were taken."""
        return len(values) < len(self.names)

    def size(self, request: HttpRequest) -> int:
        """Return how many bytes their values take, about."""
        return sum(len(value) for value in self.values(request) if value)
