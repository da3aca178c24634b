"""Say on the terminal what is going on and how long it took."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

PAUSE = 2.0  # seconds between two notes where a line cannot be rewritten


class Progress:
    """Steps, one a line: what it is, notes while it lasts, its time in seconds.

    Args:
        stream: where to write; on a terminal the notes rewrite the line, elsewhere they follow
            each other every two seconds.
    """

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.rewrites = stream.isatty()
        self._text = ""
        self._noted = 0.0

    @contextmanager
    def step(self, text: str) -> Iterator[None]:
        """Show the step while the block runs, then how long it took."""
        started = self._noted = time.monotonic()
        self._text = text
        self._write(f"{text} ...")
        try:
            yield
        except BaseException:
            self._write(" stopped.\n")
            raise
        if self.rewrites:
            self._write(f"\r\033[K{text} ...")
        self._write(f" {time.monotonic() - started:.1f} s\n")

    def note(self, text: str) -> None:
        """Show how far the step has come."""
        if self.rewrites:
            self._write(f"\r\033[K{self._text} ... {text}")
        elif time.monotonic() - self._noted >= PAUSE:
            self._noted = time.monotonic()
            self._write(f" {text} ...")

    def line(self, text: str = "") -> None:
        """Write a line."""
        self._write(f"{text}\n")

    def _write(self, text: str) -> None:
        self.stream.write(text)
        self.stream.flush()
