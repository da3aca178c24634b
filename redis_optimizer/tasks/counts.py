"""How many jobs went which way. Each number is counted where the thing happens anyway."""

import threading
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Final

from redis_optimizer.core.forks import around_fork
from redis_optimizer.signals import job_deduplicated, jobs_lost
from redis_optimizer.stats.costs import current
from redis_optimizer.tasks.message import Message

__all__ = ["SIZES", "JobCounter", "counter"]

SIZES: Final = (1, 5, 10, 25, 50, 100)
"""Upper bounds of the sizes of batches that are told apart; the rest is "more"."""

MAX_TASKS: Final = 200
"""Tasks that are told apart; all others are counted as one."""

OTHERS: Final = "(others)"


NAMES: Final = (
    "buffered",
    "sent",
    "messages",
    "envelopes",
    "sendings",
    "failures",
    "lost",
    "duplicates",
    "opened",
    "unpacked",
    "ran",
    "failed",
)


class JobCounter:
    """Count jobs, from any thread."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget everything. A forked child does so: what its parent counted is the parent's."""
        # Reentrant, as a signal may interrupt it with a call of a task. A new one, as another
        # thread of the parent may have held the old one.
        self._lock = threading.RLock()
        self._totals: Counter[str] = Counter()
        self._tasks: dict[str, Counter[str]] = {}
        self._sizes: Counter[str] = Counter()
        self._reasons: Counter[str] = Counter()

    def buffer(self, message: Message) -> None:
        """Count a job that waits for others; an event that waits with it is none."""
        if message.task:
            with self._lock:
                self._totals["buffered"] += 1
                self._task(message.task)["buffered"] += 1
            if costs := current():
                costs.add_job()

    def send(self, messages: Sequence[Message], *, envelope: bool) -> None:
        """Count what left the process by one sending.

        Args:
            messages: The jobs, and events among them.
            envelope: They left in one message.
        """
        jobs = Counter(message.task for message in messages if message.task)
        size = jobs.total()
        if not size:
            return
        with self._lock:
            self._totals["sent"] += size
            self._totals["messages"] += 1 if envelope else size
            self._totals["envelopes"] += envelope
            self._totals["sendings"] += 1
            self._sizes[_bucket(size)] += 1
            for task, number in jobs.items():
                self._task(task)["sent"] += number

    def flush(self, reason: str) -> None:
        """Count why a batch left: "size", "bytes", "age", "asked" or "exit"."""
        with self._lock:
            self._reasons[reason] += 1

    def fail(self) -> None:
        """Count a sending that failed, and will be tried again."""
        with self._lock:
            self._totals["failures"] += 1

    def lose(self, tasks: Iterable[str]) -> None:
        """Count jobs that are given up."""
        with self._lock:
            for task in tasks:
                self._totals["lost"] += 1
                self._task(task)["lost"] += 1

    def open(self, jobs: int) -> None:
        """Count an envelope that a worker opened."""
        with self._lock:
            self._totals["opened"] += 1
            self._totals["unpacked"] += jobs

    def run(self, task: str, number: int = 1, *, failed: bool = False) -> None:
        """Count jobs of a task that a worker ran."""
        with self._lock:
            self._totals["ran"] += number
            self._totals["failed"] += number * failed
            counts = self._task(task)
            counts["ran"] += number
            if failed:
                counts["failed"] += number

    def drop_duplicate(self, task: str) -> None:
        """Count a call that was not sent, as another job stands for it."""
        with self._lock:
            self._totals["duplicates"] += 1
            self._task(task)["duplicates"] += 1

    def totals(self) -> dict[str, Any]:
        """Return what was counted, as plain data.

        Returns:
            buffered and sent (jobs), messages and envelopes (that they left in), sendings (commands
            that took them there), failures (sendings that are tried again), lost (jobs that are
            given up), commands_avoided (by sending them together), duplicates, sizes (of batches,
            by the upper bound) and reasons (why they left). In a worker: opened (envelopes),
            unpacked (the jobs in them), ran (jobs) and, of those, failed. And tasks: the same by
            task.
        """
        with self._lock:
            return {
                **self._numbers(),
                "sizes": dict(self._sizes),
                "reasons": dict(self._reasons),
                "tasks": {name: dict(counts) for name, counts in self._tasks.items()},
            }

    def series(self) -> dict[str, int]:
        """Return what the history follows."""
        with self._lock:
            return self._numbers()

    def _numbers(self) -> dict[str, int]:
        numbers = {name: self._totals[name] for name in NAMES}
        return numbers | {"commands_avoided": numbers["sent"] - numbers["sendings"]}

    def _task(self, name: str) -> Counter[str]:
        if name not in self._tasks and len(self._tasks) >= MAX_TASKS:
            name = OTHERS
        return self._tasks.setdefault(name, Counter())


def _bucket(size: int) -> str:
    return next((str(bound) for bound in SIZES if size <= bound), "more")


counter: Final = JobCounter()
"""That of this process."""


def _note_duplicate(task: str, **kwargs: object) -> None:
    counter.drop_duplicate(task)


def _note_lost(tasks: Iterable[str], **kwargs: object) -> None:
    counter.lose(tasks)


jobs_lost.connect(_note_lost, dispatch_uid="redis_optimizer.tasks.counts")
job_deduplicated.connect(_note_duplicate, dispatch_uid="redis_optimizer.tasks.counts")
around_fork(after_in_child=counter.reset)
