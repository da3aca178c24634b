"""What became of the jobs: by what the clients were told, and by the ledger of what ran."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import inf

from .site.ledger import Run

BATCHED = "-batched"
TOGETHER = 0.5  # seconds; a batch waits for 0.1 s, and for its sending


@dataclass(frozen=True)
class Call:
    """A call for a job that may stand for others: when it was made, and the job's id."""

    began: float
    ended: float
    key: str
    id: str


@dataclass
class Sent:
    """What the site has said that it will do."""

    labels: dict[str, float] = field(default_factory=dict)
    once: list[Call] = field(default_factory=list)
    throttled: list[Call] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def jobs(self) -> set[str]:
        """What the ledger must name."""
        return self.labels.keys() | {call.id for call in (*self.once, *self.throttled)}


@dataclass
class Outcome:
    """What became of the jobs.

    Attributes:
        sent: Jobs that the site has promised.
        lost: Those of them that never ran.
        messages: How many messages these were in, at least: jobs that were sent within half a
            second of each other may have shared one.
        again: Runs beyond the first of a job: the broker delivered it again.
        overlaps: Pairs of jobs with one key that ran, for the first time, at the same time though
            only one may ("until_executed").
        crowded: Pairs of jobs with one key that were accepted within one window ("throttle").
    """

    sent: int
    lost: list[str]
    messages: int
    again: int
    overlaps: int
    crowded: int


def judge(sent: Sent, runs: Iterable[Run], window: float) -> Outcome:
    """Compare what was promised with what ran.

    Args:
        sent: What was promised.
        runs: What ran.
        window: Seconds within which a throttled task accepts one job.
    """
    began: dict[str, list[float]] = defaultdict(list)
    ended: dict[str, list[float]] = defaultdict(list)
    keys: dict[str, str] = {}
    for run in runs:
        (ended if run.what == "end" else began)[run.job].append(run.at)
        keys[run.job] = run.key
    jobs = sent.jobs
    lost = sorted(jobs - began.keys())
    return Outcome(
        sent=len(jobs),
        lost=lost,
        messages=count_messages(lost, sent.labels),
        again=sum(len(times) - 1 for times in began.values()),
        overlaps=count_overlaps(
            (keys[job], times[0], ended[job][0])
            for job, times in began.items()
            # One whose child died in it has no end: it is run again, and that is no duplicate.
            if ended[job]
        ),
        crowded=count_crowded(sent.throttled, window),
    )


def count_messages(lost: Iterable[str], sent_at: Mapping[str, float]) -> int:
    """Count the messages that jobs were in: one for each that does not travel in batches."""
    found, previous = 0, -inf
    for at, job in sorted((sent_at.get(job, inf), job) for job in lost):
        if not job.endswith(BATCHED):
            found += 1
        elif at - previous > TOGETHER:
            found, previous = found + 1, at
    return found


def count_overlaps(spans: Iterable[tuple[str, float, float]]) -> int:
    """Count those that begin, by their key, before an earlier one has ended."""
    found, until = 0, defaultdict(lambda: -inf)
    for key, began, ended in sorted(spans, key=lambda span: span[1]):
        found += began < until[key]
        until[key] = max(until[key], ended)
    return found


def count_crowded(calls: Iterable[Call], window: float) -> int:
    """Count the jobs that were certainly accepted less than a window after another of their key.

    A job was accepted by the first call that returned it: after that began, and before it ended.
    """
    first: dict[str, Call] = {}
    for call in sorted(calls, key=lambda call: call.ended):
        first.setdefault(call.id, call)
    found, latest = 0, dict[str, Call]()
    for call in sorted(first.values(), key=lambda call: call.began):
        before = latest.get(call.key)
        found += before is not None and call.ended < before.began + window
        latest[call.key] = call
    return found
