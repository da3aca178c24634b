"""What marks a function as a case of the table."""

from collections.abc import Callable
from typing import Any, Protocol


class Case(Protocol):
    """A function that sends jobs and names them."""

    __name__: str
    eager: bool

    def __call__(self, run: Any) -> None: ...


def case(function: Any = None, *, eager: bool = True) -> Any:
    """Mark a function as a case.

    Args:
        function: takes a `Run`.
        eager: it makes sense where jobs run in the caller's process.
    """

    def mark(function: Callable[[Any], None]) -> Callable[[Any], None]:
        function.eager = eager  # type: ignore[attr-defined]
        return function

    return mark if function is None else mark(function)
