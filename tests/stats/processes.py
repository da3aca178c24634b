"""Processes of a site that read its cache, each with a channel of its own."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.servers import wait_until

ROOT = Path(__file__).resolve().parent.parent.parent
READY = 60  # seconds until all processes must be there; they are many for a machine

READER = """
import django; django.setup()
import sys
from django.core.cache import cache
assert cache.tier.wait_ready(30)
while cache.tier.hits < 100:
    cache.get("a")
print("ready", flush=True)
for line in sys.stdin:
    exec(line)
    print("done", flush=True)
"""


class Reader:
    """One such process; `do` has it run a line."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", READER],
            cwd=ROOT,
            env=os.environ | {"DJANGO_SETTINGS_MODULE": "tests.settings", "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.pid = self.process.pid

    def wait(self, word: str = "ready") -> None:
        assert self.process.stdout is not None
        assert self.process.stdout.readline().strip() == word

    def do(self, line: str) -> None:
        """Run a line there, and wait for it."""
        assert self.process.stdin is not None
        print(line, file=self.process.stdin, flush=True)
        self.wait("done")

    def hit(self, number: int) -> None:
        """Read until so many more reads were answered there: after a pause, the first are not."""
        self.do(f"end = cache.tier.hits + {number}")
        self.do("while cache.tier.hits < end: cache.get('a')")

    def freeze(self) -> None:
        """Suspend it: its connection stays open and it answers nothing."""
        os.kill(self.pid, signal.SIGSTOP)
        stat = Path(f"/proc/{self.pid}/task")

        def is_stopped() -> bool:
            states = [(task / "stat").read_text().rpartition(") ")[2][0] for task in stat.iterdir()]
            return set(states) == {"T"}

        if stat.exists():
            wait_until(is_stopped)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()


@contextlib.contextmanager
def readers(number: int) -> Iterator[list[Reader]]:
    """Run processes on the test's server that have read 100 times from what they keep."""
    started: list[Reader] = []
    try:
        started.extend(Reader() for _ in range(number))
        for reader in started:
            reader.wait()
        yield started
    finally:
        for reader in started:
            reader.close()
