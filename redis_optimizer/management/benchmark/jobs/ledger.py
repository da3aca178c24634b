"""Which jobs ran and when: a file that every process of a site appends to.

It costs a job some microseconds, the same on both sides, and no command.
"""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

ENTRY = struct.Struct("<qd")


class Run(NamedTuple):
    """A job that ran.

    Args:
        number: of the job.
        at: in seconds, by the clock that all processes of a machine share.
    """

    number: int
    at: float


class Ledger:
    """The file, for those who write it and for the one who reads it.

    Args:
        path: where it is; the first entry makes it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None

    def note(self, numbers: Iterable[int]) -> None:
        """Write that jobs have run."""
        if self._descriptor is None:
            self._descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        now = time.monotonic()
        # One write, so that those of several processes do not mix.
        os.write(self._descriptor, b"".join(ENTRY.pack(number, now) for number in numbers))

    def clear(self) -> None:
        """Forget all entries; those who write go on at the beginning."""
        self.path.write_bytes(b"")

    def __len__(self) -> int:
        return self.path.stat().st_size // ENTRY.size if self.path.exists() else 0

    def read(self) -> list[Run]:
        """Return all entries in the order of writing."""
        entries = self.path.read_bytes() if self.path.exists() else b""
        return [Run(*fields) for fields in ENTRY.iter_unpack(entries)]
