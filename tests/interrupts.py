"""Exceptions that come at any line, as those of signals may: a time limit, Ctrl-C, the end."""

from __future__ import annotations

import linecache
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import FrameType, ModuleType
from typing import Any

NEVER = (
    "with ",
    "try:",
    "return True",
    "self._sender = 0",
    "self._sending.release()",
    "way.sent, way.unsent =",
)
"""How lines begin that no signal interrupts. Python looks for one where a function begins, where a
loop goes back, and after a call of what is written in C: not between a lock and its block."""


class Interrupt(BaseException):
    """What the signal raises."""


def interruptions(*modules: ModuleType) -> Iterator[Callable[[Callable[[], Any]], None]]:
    """Yield functions that make a call which is interrupted, each at a later line than the last.

    The last one's call comes to its end.

    Args:
        modules: In whose lines that happens.
    """
    files = {module.__file__ for module in modules}
    is_over = False
    at = 0

    def make(call: Callable[[], Any]) -> None:
        nonlocal is_over
        left = at

        def trace(frame: FrameType, event: str, argument: object) -> Any:
            nonlocal left
            if frame.f_code.co_filename not in files:
                return None
            line = linecache.getline(frame.f_code.co_filename, frame.f_lineno).strip()
            if event == "line" and not line.startswith(NEVER):
                left -= 1
                if left == 0:
                    raise Interrupt(f"{frame.f_code.co_qualname}: {line}")
            return trace

        before = sys.gettrace()
        sys.settrace(trace)
        try:
            with suppress(Interrupt):
                call()
        finally:
            sys.settrace(before)
        is_over = left > 0

    while not is_over:
        at += 1
        yield make
