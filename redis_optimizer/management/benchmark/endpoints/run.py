"""Run the project in each state, side by side, each with a server of its own."""

from __future__ import annotations

import queue
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import Any, Final, TextIO

import redis

from redis_optimizer.embedded import EmbeddedServer
from redis_optimizer.management.benchmark.child import Child, Inbox, WorkerError
from redis_optimizer.management.benchmark.endpoints.plan import make_plan
from redis_optimizer.management.benchmark.endpoints.report import Report, Row
from redis_optimizer.management.benchmark.progress import show_progress
from redis_optimizer.management.benchmark.server import CommandCounter
from redis_optimizer.management.benchmark.wire import CONNECTING

__all__ = ["STATES", "Benchmark", "Setup"]

WORKER: Final = "redis_optimizer.management.benchmark.endpoints.worker"
PATIENCE: Final = 60.0  # seconds without a word from a process

OFF: Final = {"ENABLED": False}
STATES: Final[Mapping[str, dict[str, Any]]] = {
    "switched off": OFF,
    "undecorated": {
        **dict.fromkeys(("HEALTH_TTL", "HEALTH_STAFF_TTL", "READY_TTL", "STATUS_TTL"), 0),
        "RESPONSE_BYTES": 1,  # no response fits, whatever TTL its view was given
    },
    "decorated": {},
}
"""What is changed in REDIS_OPTIMIZER. "undecorated" has the tier of the caches, and keeps no
endpoint's answer; only what is asked at the same moment may still share one run."""


@dataclass(frozen=True)
class Setup:
    """What is measured.

    Args:
        paths: what each client asks for.
        clients: how many.
        interval: seconds between two times that a client asks.
        seconds: how long it goes on.
        threads: of the web process.
        host: what the requests say they are for.
        cookie: a Cookie header for the requests, such as that of staff.
        seed: of the moments at which the clients begin.
    """

    paths: Sequence[str]
    clients: int
    interval: float
    seconds: float
    threads: int
    host: str
    cookie: str = ""
    seed: int = 1


@dataclass
class _Run:
    """One state under way."""

    name: str
    child: Child
    counter: CommandCounter
    done: int = 0
    result: dict[str, Any] | None = None
    counted: Mapping[str, int] | None = None


class Benchmark:
    """Ask the same of the project in each of its states, at the same time.

    Args:
        setup: what is measured.
        stream: where progress goes; None shows none.
    """

    def __init__(self, setup: Setup, stream: TextIO | None) -> None:
        self._setup = setup
        self._stream = stream
        self._inbox: Inbox = queue.SimpleQueue()

    def run(self) -> Report:
        """Run it.

        Raises:
            WorkerError: a process failed, or a path does not answer.
            redis.RedisError: a server could not be reached.
        """
        setup = self._setup
        polls = make_plan(
            setup.paths,
            clients=setup.clients,
            interval=setup.interval,
            seconds=setup.seconds,
            seed=setup.seed,
        )
        if not polls:
            raise WorkerError("Nobody asks anything: --seconds is too short.")
        with ExitStack() as stack:
            runs = [self._begin(stack, name, polls) for name in STATES]
            for run, message in self._listen(runs):
                for path, status in message["ready"].items():
                    if not status.startswith("2"):
                        raise WorkerError(f"{path} answered {status} ({run.name}).")
                run.result = message
            for run in runs:
                run.result = None
                run.counter.lap()
                run.child.tell("go")
            title = "Endpoints"
            with show_progress(title, len(polls) * len(runs), self._stream) as progress:
                for run, message in self._listen(runs):
                    if "done" in message:
                        run.done = message["done"]
                        progress(sum(each.done for each in runs))
                    else:
                        run.result, run.done = message, len(polls)
                        run.counted = run.counter.lap()
            server = runs[0].counter.describe()
            setting = {**asdict(setup), "requests": len(polls), "server": server}
            return Report(setting, [_row(run) for run in runs])

    def _begin(self, stack: ExitStack, name: str, polls: Sequence[tuple[float, str]]) -> _Run:
        server = stack.enter_context(EmbeddedServer())
        client = stack.enter_context(redis.Redis.from_url(server.url, decode_responses=True))
        # Many projects read REDIS_URL: Celery's broker, say, moves along.
        child = Child(WORKER, self._inbox, {"REDIS_URL": server.url})
        stack.callback(child.stop)
        child.tell(
            {
                "url": server.url,
                "settings": STATES[name],
                "polls": polls,
                "threads": self._setup.threads,
                "host": self._setup.host,
                "cookie": self._setup.cookie,
                # Where nothing is kept, so that all begin with nothing.
                "tries": STATES[name] == OFF,
            }
        )
        return _Run(name, child, CommandCounter(client))

    def _listen(self, runs: Sequence[_Run]) -> Iterator[tuple[_Run, dict[str, Any]]]:
        """Yield what the processes say, until each has a result."""
        by_child = {run.child: run for run in runs}
        while any(run.result is None for run in runs):
            try:
                child, message = self._inbox.get(timeout=PATIENCE)
            except queue.Empty:
                raise WorkerError(f"No process said a word for {PATIENCE:g} s.") from None
            if message is None:
                raise WorkerError(child.complaint() or "A process ended too early.")
            yield by_child[child], message


def _row(run: _Run) -> Row:
    counted, result = Counter(run.counted), run.result or {}
    return Row(
        name=run.name,
        commands=Counter({name: n for name, n in counted.items() if name not in CONNECTING}),
        connecting=Counter({name: n for name, n in counted.items() if name in CONNECTING}),
        queries=result["queries"],
        took={path: [(a, b) for a, b in times] for path, times in result["took"].items()},
        statuses=result["statuses"],
    )
