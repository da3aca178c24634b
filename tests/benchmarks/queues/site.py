"""One contender that runs: its server, its worker and its producer."""

import contextlib
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import redis

from redis_optimizer.embedded import EmbeddedServer
from redis_optimizer.management.benchmark.sockets import process_of
from redis_optimizer.management.benchmark.wire import Wire
from tests.benchmarks.peers.child import Child, Failed
from tests.benchmarks.peers.environments import ROOT, environment
from tests.benchmarks.queues.contenders import CONTENDERS, RQ

PRODUCER = "tests.benchmarks.queues.producer"
STALL = 60.0  # seconds without a job that runs until it is given up
STOP = 10.0  # seconds for a worker to end
POLL = 0.02
WARM = 100  # jobs until every process has connected
SETTLED = 0.5  # seconds for what follows the last job


class Site:
    """A context manager that leaves no process and no file behind.

    Args:
        name: of the contender.
        python: the interpreter of its environment.
    """

    def __init__(self, name: str, python: str) -> None:
        self.name, self._python = name, python
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> "Site":
        with contextlib.ExitStack() as stack:
            directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="queues-"))
            self._ledger = Path(directory, "ledger")
            self._ledger.touch()
            self.server = stack.enter_context(EmbeddedServer())
            self.client = stack.enter_context(redis.Redis.from_url(self.server.url))
            variables = {
                "QUEUE_KIND": self.name,
                "QUEUE_URL": self.server.url,
                "QUEUE_LEDGER": str(self._ledger),
            }
            log = stack.enter_context(Path(directory, "worker.log").open("w+"))
            self._worker = stack.enter_context(self._start(variables, log))
            self._log = log
            with self._produce(variables) as first:  # what it learns of no worker is not remembered
                self.warm_up(first)
            self.producer = stack.enter_context(self._produce(variables))
            self.warm_up(self.producer)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stack.close()

    @contextlib.contextmanager
    def _start(
        self, variables: dict[str, str], log: IO[str]
    ) -> Iterator["subprocess.Popen[bytes]"]:
        command = [self._python, *CONTENDERS[self.name].worker]
        if CONTENDERS[self.name].worker is RQ:
            command += ["--url", self.server.url]
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment() | variables,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(STOP)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def _produce(self, variables: dict[str, str]) -> Child:
        return Child(self._python, PRODUCER, variables=variables)

    def warm_up(self, producer: Child) -> None:
        """Let a producer and the worker's processes connect."""
        producer.ask("send", numbers=list(range(WARM)))
        self.wait(lambda runs: len(runs) >= WARM)
        time.sleep(SETTLED)
        self.forget()

    def wire(self) -> Wire:
        """Return a counter of what is sent to the server."""
        return Wire(self.server.url)

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Keep the worker and its children from running while the block runs."""
        os.killpg(self._worker.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.killpg(self._worker.pid, signal.SIGCONT)

    def runs(self) -> list[tuple[int, float]]:
        """Return the numbers of the jobs that ran, and when, in seconds of the machine's clock."""
        lines = self._ledger.read_text().splitlines()
        return [(int(number), float(at)) for number, _, at in map(_parts, lines)]

    def forget(self) -> None:
        """Forget what ran."""
        os.truncate(self._ledger, 0)

    def wait(self, done: Callable[[list[tuple[int, float]]], bool]) -> list[tuple[int, float]]:
        """Wait for what ran to be as it must.

        Raises:
            Failed: the worker ended, or nothing went on for a minute.
        """
        seen, moved = -1, time.monotonic()
        while not done(runs := self.runs()):
            if self._worker.poll() is not None or time.monotonic() - moved > STALL:
                self._log.seek(0)
                lines = self._log.read().strip().splitlines()[-3:]
                raise Failed(f"{len(runs)} jobs ran, and nothing goes on: {' / '.join(lines)}")
            if len(runs) != seen:
                seen, moved = len(runs), time.monotonic()
            time.sleep(POLL)
        return runs

    def connections(self) -> tuple[int, int] | None:
        """Return those of the producer and of the worker; None where the system does not tell."""
        clients: list[Any] = self.client.client_list()
        owners = [process_of(each["addr"], each["laddr"]) for each in clients]
        others = [owner for owner in owners if owner not in (None, os.getpid())]
        if not others:
            return None
        sending = others.count(self.producer.pid)
        return sending, len(others) - sending


def _parts(line: str) -> tuple[str, str, str]:
    return line.partition(" ")
