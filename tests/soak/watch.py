"""Memory, threads and connections of the site while a run lasts."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections import defaultdict
from pathlib import Path
from statistics import median

import redis

from .ground import Ground

EVERY = 1.0  # seconds
SETTLING = 30.0  # seconds in which a process loads and makes what it keeps
PAGE = os.sysconf("SC_PAGE_SIZE") / 2**20  # MiB


class Watch:
    """Note every second what the processes of the site have; start them again if they end."""

    def __init__(self, ground: Ground) -> None:
        self.ground = ground
        self.names: dict[int, str] = {}
        self.memory: dict[int, list[tuple[float, float]]] = defaultdict(list)
        self.threads: dict[int, list[tuple[float, int]]] = defaultdict(list)
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._done.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._done.wait(EVERY):
            self.ground.supervise()
            self.look()

    def look(self) -> None:
        """Take note of what there is now."""
        now = time.monotonic()
        for number, name in self.ground.processes.items():
            with contextlib.suppress(OSError, ValueError):  # it has just ended
                memory = int(Path(f"/proc/{number}/statm").read_text().split()[1]) * PAGE
                status = Path(f"/proc/{number}/status").read_text()
                threads = int(status.split("Threads:")[1].split()[0])
                self.names[number] = name
                self.memory[number].append((now, memory))
                self.threads[number].append((now, threads))

    def growth(self, until: float) -> dict[str, float]:
        """Return the MiB by which each process grew, from its first third to its last.

        Args:
            until: When the run was over.
        """
        found = {}
        for number, samples in self.memory.items():
            seen = [mib for at, mib in samples if samples[0][0] + SETTLING < at <= until]
            third = len(seen) // 3
            # Of one that did not live long nothing can be said.
            if third >= SETTLING / EVERY / 3:
                name = f"{self.names[number]} ({number})"
                found[name] = median(seen[-third:]) - median(seen[:third])
        return found

    def most_threads(self, before: float) -> dict[int, int]:
        """Return for each process the most threads that one of its name had, until then.

        Those of one name are alike, and not each has had everything to do yet.
        """
        most: dict[str, int] = defaultdict(int)
        for number, samples in self.threads.items():
            for at, threads in samples:
                if at <= before:
                    most[self.names[number]] = max(most[self.names[number]], threads)
        return {number: most[name] for number, name in self.names.items() if name in most}

    def threads_now(self) -> dict[int, int]:
        """Return the threads of each process that lives."""
        self.look()
        living = self.ground.processes
        return {number: self.threads[number][-1][1] for number in living if self.threads[number]}


def connections(client: redis.Redis) -> int:
    """Return how many connections a server has, but for our own."""
    return sum(1 for each in client.client_list() if each["name"] != "soak")
