"""What ran: a line for each beginning and end, in a file that outlives every process."""

import os
import time
from pathlib import Path
from typing import NamedTuple


class Run(NamedTuple):
    """The beginning or the end of a run. `at` is on the monotonic clock, one for all processes."""

    job: str
    key: str
    what: str
    at: float


def record(job: str, key: str = "-", what: str = "begin") -> None:
    """Append a line, in one piece."""
    line = f"{job} {key} {what} {time.monotonic()}\n".encode()
    file = os.open(os.environ["SOAK_LEDGER"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(file, line)
    finally:
        os.close(file)


def read(path: Path) -> list[Run]:
    """Return what was recorded so far."""
    if not path.exists():
        return []
    lines = path.read_text().splitlines()
    return [Run(job, key, what, float(at)) for job, key, what, at in map(str.split, lines)]
