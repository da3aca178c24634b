"""Kill workers and their children at random points, and count what was lost.

``python -m tests.tasks.chaos --kills 200`` prints how many jobs never ran and how many ran twice,
for batches and for plain Celery with late acknowledgement in the same way.
"""

import argparse
import contextlib
import json
import os
import random
import signal
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import redis

from redis_optimizer.embedded import HOST, EmbeddedServer
from tests.servers import wait_until
from tests.tasks.processes import Site, Worker
from tests.tasks.site import runs

VISIBILITY = 4  # seconds after which the broker delivers again what a killed worker held
SETTINGS = {
    "CELERY_BROKER_TRANSPORT_OPTIONS": {
        "visibility_timeout": VISIBILITY,
        "unacked_restore_interval": 1,
        "unacked_restore_throttle": 1,
        # Of a worker that is killed while it looks for such: nobody else does so for 300 s.
        "unacked_mutex_expire": 2,
    },
    "CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP": True,
    "REDIS_OPTIMIZER": {"ENVELOPES": True},
}
SEND = """
import sys
from redis_optimizer.tasks import batch
from tests.tasks.site.chaos import work
for line in sys.stdin:
    first, jobs = map(int, line.split())
    with batch():
        for number in range(first, first + jobs):
            work.delay(f"job-{number}")
    print("sent", flush=True)
"""


@dataclass(frozen=True)
class Outcome:
    """What became of the jobs of one run.

    Args:
        base: What the tasks were made of: "ours", "early" or "plain".
        kills: Processes killed.
        jobs: Jobs sent.
        missing: Jobs that never ran.
        again: Runs beyond the first of a job.
        unacked: Messages that the broker still holds as delivered.
        queued: Messages that are still in a queue.
    """

    base: str
    kills: int
    jobs: int
    missing: int
    again: int
    unacked: int
    queued: int


class Run:
    """One site whose workers are killed.

    Args:
        base: What the tasks are made of: "ours", "early" or "plain".
        directory: For its files.
        server: The broker.
        seed: Of the chances.

    A context manager: in the block a producer runs, which sends what it is told to.
    """

    def __init__(self, base: str, directory: Path, server: EmbeddedServer, seed: int) -> None:
        directory.mkdir(exist_ok=True)
        self.base = base
        self.site = _ChaosSite(base, directory, server.port)
        self._running = contextlib.ExitStack()
        self.client = redis.Redis(HOST, server.port)
        self.random = random.Random(seed)
        self.jobs = 0
        self.kills = 0

    def __enter__(self) -> Self:
        self.producer = self._running.enter_context(self.site.start(SEND))
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._running.close()

    def send(self, count: int) -> None:
        """Have jobs sent, and wait until they are."""
        assert self.producer.stdin is not None
        assert self.producer.stdout is not None
        self.producer.stdin.write(f"{self.jobs} {count}\n")
        self.producer.stdin.flush()
        assert self.producer.stdout.readline() == "sent\n"
        self.jobs += count

    def kill_often(self, kills: int) -> None:
        """Kill a worker, or one of its children, again and again while jobs run."""
        while self.kills < kills:
            with self.site.worker("-c", "2", "--without-gossip", "--without-mingle") as worker:
                for _ in range(self.random.randint(1, 4)):
                    self.send(40)
                    time.sleep(self.random.uniform(0.0, 0.4))  # the random point
                    self._kill_child(worker)
                self.send(60)
                # Kombu notes what it takes from a queue when it has it. What is on its way to a
                # worker that is killed is lost, with any Celery: that is not what is tried here.
                time.sleep(self.random.uniform(0.0, 0.6))
                wait_until(self._is_noted)
                worker.kill()
                self.kills += 1

    def finish(self, timeout: float) -> Outcome:
        """Let a worker run what is left, and count."""
        with self.site.worker("-c", "2") as worker, contextlib.suppress(AssertionError):
            wait_until(self._is_done, timeout, 0.1)
            worker.stop()
        seen = runs.counts(self.site.runs)
        return Outcome(
            base=self.base,
            kills=self.kills,
            jobs=self.jobs,
            missing=self.jobs - len(seen),
            again=sum(seen.values()) - len(seen),
            unacked=self._size("unacked"),
            queued=self._size("celery") + self._size("celery.batches"),
        )

    def _kill_child(self, worker: Worker) -> None:
        children = worker.children()
        if children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.random.choice(children), signal.SIGKILL)
            self.kills += 1

    def _is_noted(self) -> bool:
        return self._is_taken() and bool(self.client.info("clients")["blocked_clients"])

    def _is_taken(self) -> bool:
        return not self._size("celery") and not self._size("celery.batches")

    def _is_done(self) -> bool:
        is_over = self._is_taken() and not self._size("unacked")
        return is_over and len(runs.counts(self.site.runs)) == self.jobs

    def _size(self, key: str) -> int:
        kind = self.client.type(key)
        if kind == b"hash":
            return int(self.client.hlen(key))  # type: ignore[arg-type]
        return int(self.client.llen(key))  # type: ignore[arg-type]


class _ChaosSite(Site):
    def __init__(self, base: str, directory: Path, port: int) -> None:
        super().__init__(directory, port, tasks=["tests.tasks.site.chaos"], settings=SETTINGS)
        self.base = base

    def environment(self, **options: Any) -> dict[str, str]:
        return super().environment(**options) | {"SITE_BASE": self.base}


def run(base: str, kills: int, directory: Path, seed: int, timeout: float = 60.0) -> Outcome:
    """Kill `kills` processes of a site's workers on a broker of its own, and count.

    Args:
        base: What the tasks are made of: "ours", "early" or "plain".
        kills: Processes to kill at least.
        directory: For files.
        seed: Of the chances.
        timeout: Seconds in which what is left must have run.
    """
    with EmbeddedServer() as server, Run(base, directory, server, seed) as attempt:
        attempt.kill_often(kills)
        return attempt.finish(timeout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--base", action="append", choices=["ours", "early", "plain"])
    options = parser.parse_args()
    seed = random.randrange(10**6) if options.seed is None else options.seed
    print(json.dumps({"seed": seed}), flush=True)
    for base in options.base or ["ours", "plain"]:
        with tempfile.TemporaryDirectory() as directory:
            print(json.dumps(asdict(run(base, options.kills, Path(directory), seed))), flush=True)


if __name__ == "__main__":
    main()
