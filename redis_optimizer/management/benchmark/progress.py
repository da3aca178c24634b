"""Progress on stderr: a bar in a terminal where tqdm is installed, else plain lines."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any, TextIO

STEP = 25  # percent between two plain lines


@contextmanager
def show_progress(
    title: str, total: int, stream: TextIO | None, unit: str = "requests"
) -> Iterator[Callable[[int], None]]:
    """Yield a function that takes how much is done so far.

    Args:
        title: what is under way.
        total: the number at the end.
        stream: where to write; None shows nothing.
        unit: what is counted.
    """
    if stream is None:
        yield lambda done: None
        return
    bar_class = _find_bar() if stream.isatty() else None
    if bar_class is None:
        yield _Lines(title, total, stream, unit)
        return
    with bar_class(total=total, desc=title, unit=f" {unit}", file=stream) as bar:

        def advance(done: int) -> None:
            bar.update(done - bar.n)

        yield advance


def _find_bar() -> Callable[..., Any] | None:
    try:
        bar: Callable[..., Any] = import_module("tqdm").tqdm
    except ImportError:
        return None
    return bar


class _Lines:
    def __init__(self, title: str, total: int, stream: TextIO, unit: str) -> None:
        self._title, self._total, self._stream, self._unit = title, total, stream, unit
        self._shown = -1

    def __call__(self, done: int) -> None:
        step = done * 100 // self._total // STEP
        if step > self._shown:
            self._shown = step
            self._stream.write(f"{self._title}: {done:,} of {self._total:,} {self._unit}\n")
            self._stream.flush()
