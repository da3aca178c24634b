"""What a run came to, and what of it must not be."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field

from .history import Tally
from .plan import TIERED, Plan

# What a call may raise while the server is away, by its name.
OUTAGES = {"BusyLoadingError", "ConnectionError", "ConnectionInterrupted", "TimeoutError"}
# And while a cluster changes; redis-py 6.4 changes its list of a slot's nodes without a lock.
MOVES = {
    "ClusterDownError",
    "ClusterUnavailable",
    "TryAgainError",
    "ValueError in redis/cluster.py",
}


@dataclass
class Report:
    """What a run came to.

    Attributes:
        plan: The run.
        tallies: What the reads came to, by role.
        hit_ratio: The mean hit ratio of the tiers, by their own count.
        writes: The number of writes that were acknowledged.
        differing: Entries that differed from Redis after the last write, with both versions.
        errors: How many calls failed, by the name of the error.
        faults: What went wrong on purpose and when, and what came of it.
    """

    plan: Plan
    tallies: dict[str, Tally] = field(default_factory=dict)
    hit_ratio: float = 0.0
    writes: int = 0
    differing: list[str] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)
    faults: dict[str, object] = field(default_factory=dict)

    @property
    def total(self) -> Tally:
        total = Tally()
        for tally in self.tallies.values():
            total.add(tally)
        return total

    @property
    def violations(self) -> list[str]:
        """Say what must not be, one line each."""
        total, found = self.total, []
        if total.own_write_missed:
            found.append(f"{total.own_write_missed} reads missed a write of their own process")
        if total.never_written:
            found.append(f"{total.never_written} reads returned what nobody wrote")
        if self.differing:
            found.append(f"{len(self.differing)} entries differ from Redis: {self.differing[:3]}")
        if total.max_stale_ms > self.plan.max_staleness * 1000:
            found.append(f"a read was {total.max_stale_ms:.0f} ms stale")
        for role, tally in self.tallies.items():
            # One that does not listen is stale in all it reads, up to the bound.
            if tally.stale_share >= self.plan.stale_share and not self.plan.deaf:
                found.append(f"{tally.stale_share:.2%} of the reads of {role} were stale")
            # In a cluster, a primary answers reads until it has heard that it is none any more.
            if role != TIERED and tally.stale and not self.plan.cluster:
                found.append(f"{role} keeps nothing, but {tally.stale} of its reads were stale")
        allowed = OUTAGES if self.plan.faults else set()
        if self.plan.cluster:
            allowed = allowed | MOVES
        if wrong := {name: n for name, n in self.errors.items() if name not in allowed}:
            found.append(f"calls failed: {wrong}")
        return found

    def as_dict(self) -> dict[str, object]:
        tallies = {
            role: {**asdict(tally), "stale_share": round(tally.stale_share, 6)}
            for role, tally in self.tallies.items()
        }
        return {**asdict(self), "tallies": tallies, "violations": self.violations}

    def __str__(self) -> str:
        lines = [
            f"{role}: {t.reads} reads, {t.stale} stale ({t.stale_share:.3%}, at most "
            f"{t.max_stale_ms:.1f} ms), {t.own_write_missed} missed an own write"
            for role, t in self.tallies.items()
        ]
        lines.append(
            f"{self.writes} writes, hit ratio {self.hit_ratio:.1%}, "
            f"{len(self.differing)} entries differ, errors {dict(self.errors)}"
        )
        lines += [f"{fault}: {outcome}" for fault, outcome in self.faults.items()]
        return "\n".join([*lines, *(f"VIOLATION: {line}" for line in self.violations)])
