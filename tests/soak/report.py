"""What a soak came to, and what of it must not be."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from .jobs import Outcome
from .plan import Plan
from .versions import Tally


@dataclass
class Report:
    """What a soak came to.

    Attributes:
        plan: The run.
        bounds: The seconds for which a replaced value may be served, by alias.
        faults: Each fault, with the seconds after which it began.
        tallies: What the reads came to, by alias.
        writes: Those that were acknowledged.
        jobs: What became of the jobs.
        windows: The seconds of the dedup windows, by mode.
        on_the_way: Messages that may be lost on their way: one of each worker for each time that
            its connection is broken.
        drained: Seconds until the last job had run, after the last fault; None: it never has.
        growth: MiB that each process grew by, from the first third of the run to the last.
        connections: For each server how many a crowd needs before the first fault, and after the
            last.
        threads: For each process that has more than ever before the first fault: then, and now.
        locks: Those that are left when all is over.
        restarts: How often a supervisor started a process again, by its name.
        exits: The status of each process at the end; None: it had to be killed.
        left: Processes that were left then.
        answers: What the visitors got, by what they did.
        slowest: The longest that they waited, in seconds.
        broken: What the visitors met that must not be.
    """

    plan: Plan
    bounds: dict[str, float]
    windows: dict[str, float]
    faults: list[tuple[float, str]] = field(default_factory=list)
    tallies: dict[str, Tally] = field(default_factory=dict)
    writes: int = 0
    jobs: Outcome | None = None
    on_the_way: int = 0
    drained: float | None = None
    growth: dict[str, float] = field(default_factory=dict)
    connections: dict[str, tuple[int, int]] = field(default_factory=dict)
    threads: dict[str, tuple[int, int]] = field(default_factory=dict)
    locks: list[str] = field(default_factory=list)
    restarts: dict[str, int] = field(default_factory=dict)
    exits: dict[str, int | None] = field(default_factory=dict)
    left: list[int] = field(default_factory=list)
    answers: dict[str, int] = field(default_factory=dict)
    slowest: dict[str, float] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)

    @property
    def violations(self) -> list[str]:
        """Say what must not be, one line each."""
        found = list(self.broken)
        for alias, tally in self.tallies.items():
            if tally.beyond:
                found.append(
                    f"{tally.beyond} reads of {alias} were older than {self.bounds[alias]:g} s, "
                    f"at most {tally.oldest:.1f} s"
                )
            if tally.unknown:
                found.append(f"{tally.unknown} reads of {alias} returned what nobody wrote")
        if self.jobs is not None:
            if self.jobs.messages > self.on_the_way:
                found.append(
                    f"{len(self.jobs.lost)} jobs were lost, in {self.jobs.messages} messages, more "
                    f"than {self.on_the_way}: {self.jobs.lost[:5]}"
                )
            if self.jobs.overlaps:
                found.append(f"{self.jobs.overlaps} jobs ran beside one that stands for them")
            if self.jobs.crowded:
                found.append(f"{self.jobs.crowded} jobs were accepted within another's window")
        for name, grown in self.growth.items():
            if grown > self.plan.growth:
                found.append(f"{name} grew by {grown:.1f} MiB, more than {self.plan.growth:g}")
        for name, (before, after) in self.connections.items():
            # A crowd does not have each thread of each process ask at the very same time.
            if after > before + self.plan.webs:
                found.append(f"{name} has {after} connections, and had {before}")
        for name, (threads, now) in self.threads.items():
            found.append(f"{name} has {now} threads, and had {threads} at most")
        if self.locks:
            found.append(f"locks are left: {self.locks[:5]}")
        wrong = {name: status for name, status in self.exits.items() if status}
        if unended := [name for name, status in self.exits.items() if status is None]:
            found.append(f"processes did not end: {unended}")
        if wrong:
            found.append(f"processes ended with {wrong}")
        if "web" in self.restarts:  # a worker may end, see docs/reliability.rst
            found.append(f"web ended by itself, {self.restarts['web']} times")
        if self.left:
            found.append(f"processes are left: {self.left}")
        return found

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "violations": self.violations}

    def __str__(self) -> str:
        lines = [f"{len(self.faults)} faults, seed {self.plan.seed}"]
        for alias, tally in self.tallies.items():
            lines.append(
                f"stale: {alias}: {tally.beyond} of {tally.reads:,} reads older than "
                f"{self.bounds[alias]:g} s; the oldest {tally.oldest:.2f} s ({tally.late:,} late, "
                f"{tally.absent:,} absent, {tally.unknown} unknown)"
            )
        lines.append(f"writes: {self.writes:,} acknowledged")
        if (jobs := self.jobs) is not None:
            when = "never" if self.drained is None else f"{self.drained:.1f} s after the last fault"
            lines += [
                f"jobs: {len(jobs.lost)} lost of {jobs.sent:,}, in {jobs.messages} messages that "
                f"were on their way (at most {self.on_the_way}); {jobs.again} delivered again; the "
                f"last had run {when}",
                f"duplicates: {jobs.overlaps} ran beside the job that stands for them, "
                f"{jobs.crowded} accepted within {self.windows['throttle']:g} s of another",
            ]
        if self.growth:
            name = max(self.growth, key=self.growth.__getitem__)
            lines.append(
                f"memory: the most that a process grew is {self.growth[name]:.1f} MiB ({name}), "
                f"of {len(self.growth)}; limit {self.plan.growth:g}"
            )
        for name, (before, after) in self.connections.items():
            lines.append(f"connections: {name}: {before} before, {after} after")
        lines += [
            f"threads: {len(self.threads)} processes have more than before",
            f"locks: {len(self.locks)} left",
            f"processes: exits {self.exits}, {len(self.left)} left, started again {self.restarts}",
            f"answers: {self.answers}",
            "slowest: " + ", ".join(f"{name} {took:.1f} s" for name, took in self.slowest.items()),
        ]
        return "\n".join([*lines, *(f"VIOLATION: {line}" for line in self.violations)])
