"""Plain data that processes may tell each other: bounded, printable, of a form that is known."""

import json
from collections.abc import Mapping
from typing import Any, Final

__all__ = ["check_history", "check_plain", "dump", "load", "tidy", "tidy_text"]

MAX_TEXT: Final = 300  # characters of one string
MAX_DEPTH: Final = 6
MAX_NUMBER: Final = 2**63
MAX_STEPS: Final = 1_000  # of a history


def dump(value: Any) -> bytes:
    """Return plain data as JSON that has no spaces."""
    return json.dumps(value, separators=(",", ":")).encode()


def load(data: bytes, max_bytes: int) -> Any:
    """Return what JSON holds.

    Raises:
        ValueError: it is none, too large, or nested too deep.
    """
    if len(data) > max_bytes:
        raise ValueError(f"It has more than {max_bytes} bytes.")
    try:
        return json.loads(data, parse_constant=_refuse)
    except RecursionError as error:
        raise ValueError("It is nested too deep.") from error


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no number.")


def check_plain(value: Any, depth: int = 0) -> None:
    """Accept what can be shown on a terminal and added up.

    Raises:
        ValueError: it is something else.
    """
    if depth > MAX_DEPTH:
        raise ValueError("It is nested too deep.")
    if isinstance(value, str):
        if len(value) > MAX_TEXT or not value.isprintable():
            raise ValueError("It holds a text that is too long or not printable.")
    elif isinstance(value, int | float):
        if not abs(value) <= MAX_NUMBER:  # nor is NaN
            raise ValueError("It holds a number that is too large.")
    elif isinstance(value, dict):
        for name, inner in value.items():
            check_plain(name, depth + 1)
            check_plain(inner, depth + 1)
    elif isinstance(value, list):
        for inner in value:
            check_plain(inner, depth + 1)


def tidy(value: Any, depth: int = 0) -> Any:
    """Return what `check_plain` accepts of it."""
    if isinstance(value, Mapping | list | tuple) and depth >= MAX_DEPTH:
        return None
    if isinstance(value, Mapping):
        return {tidy_text(name): tidy(inner, depth + 1) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [tidy(inner, depth + 1) for inner in value]
    if isinstance(value, int | float):
        return value if abs(value) <= MAX_NUMBER else None
    return value if value is None else tidy_text(value if isinstance(value, str) else str(value))


def tidy_text(text: Any, most: int = MAX_TEXT) -> Any:
    """Return a text that is short and printable; of a name that is no text, the name.

    Args:
        text: Any text.
        most: Characters that it may have.
    """
    if not isinstance(text, str) or (len(text) <= most and text.isprintable()):
        return text
    shown = "".join(letter if letter.isprintable() else "?" for letter in text[: most + 1])
    return shown if len(shown) <= most else f"{shown[: most - 1]}…"


def check_history(history: Mapping[str, Any]) -> None:
    """Accept a history as `redis_optimizer.core.counters.History.snapshot` makes it.

    Raises:
        ValueError: it is something else.
    """
    match history:
        case {"step": float(step) | int(step), "begins": float() | int(), "series": dict(series)}:
            check_plain(history)
            rows = [row for row in series.values() if isinstance(row, list)]
            are_numbers = all(
                isinstance(n, int | float) and not isinstance(n, bool) for row in rows for n in row
            )
            lengths = {len(row) for row in rows}
            if (
                step >= 1
                and len(rows) == len(series)
                and are_numbers
                and len(lengths) <= 1
                and max(lengths, default=0) <= MAX_STEPS
            ):
                return
    raise ValueError("The history has no form that is known here.")
