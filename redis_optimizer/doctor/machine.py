"""How much memory the processes of this machine may use."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

__all__ = ["memory_limit"]

LIMITS: Final = (
    Path("/sys/fs/cgroup/memory.max"),  # of a container, as it sees itself
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),  # the same with version 1
)


def memory_limit(limits: Iterable[Path] = LIMITS) -> int | None:
    """Return the bytes of the machine, or of the container where that may use less.

    Args:
        limits: Files that may hold a number of bytes.
    """
    found = [_physical(), *map(_read, limits)]
    return min((size for size in found if size), default=None)


def _physical() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):  # not on Windows
        return None


def _read(path: Path) -> int | None:
    try:
        text = path.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdecimal() else None  # "max" is no limit
