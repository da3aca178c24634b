"""What came of asking all processes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from redis_optimizer.core.counters import add_up, merge
from redis_optimizer.switches import State, latest

__all__ = ["Gathered", "Process", "Silent"]

LARGEST: Final = ("staleness_bound",)
"""Numbers of which that of the site is the largest of its processes'."""


@dataclass(frozen=True, slots=True)
class Process:
    """What one process answered.

    Args:
        facts: See `redis_optimizer.stats.process.facts`.
        totals: What it counted since it began, by source.
        history: Its last hour, where that was asked for.
        seconds: How long its answer took.
        dropped: Parts that its answer had no room for.
        states: Of the parts of this package, as the process last heard; None if it does not tell.
    """

    facts: Mapping[str, Any]
    totals: Mapping[str, Any]
    history: Mapping[str, Any] | None
    seconds: float
    dropped: tuple[str, ...] = ()
    states: Mapping[str, State] | None = None


@dataclass(frozen=True, slots=True)
class Silent:
    """A process that has a channel and did not answer in time.

    Args:
        pid: Its number, None where the server does not tell.
        address: Of its channel, as the server sees it; "" where that is not known.
        is_certain: False where it may be a process of another site on that server.
    """

    pid: int | None
    address: str = ""
    is_certain: bool = True


@dataclass(frozen=True)
class Gathered:
    """What came of a question.

    Args:
        processes: Those that answered. A process without a channel is not seen: it has not read a
            cache with a tier yet, or that cache needs no channel.
        silent: Those that did not answer in time. Where the server cannot tell this site's channels
            from another's, they are more than those.
        missing: Answers that did not come; 0 when everybody answered.
        commands: What it cost: commands for asking and answering, and for keeping the state of a
            part.
        seconds: How long it took.
        ignored: Messages that were no answers.
        unreachable: What went wrong with servers that could not be asked.
        unkept: What went wrong with servers that were to keep the state of a part.
    """

    processes: list[Process] = field(default_factory=list)
    silent: list[Silent] = field(default_factory=list)
    missing: int = 0
    commands: int = 0
    seconds: float = 0.0
    ignored: int = 0
    unreachable: list[str] = field(default_factory=list)
    unkept: list[str] = field(default_factory=list)

    def totals(self) -> dict[str, Any]:
        """Return what all processes counted, together."""
        return add_up((each.totals for each in self.processes), largest=LARGEST)

    def history(self) -> dict[str, Any]:
        """Return the last hour of all processes, together."""
        return merge(process.history for process in self.processes if process.history)

    def states(self) -> dict[str, State] | None:
        """Return what any process last heard, for every part; None where none of them tells."""
        told = [each.states for each in self.processes if each.states is not None]
        return latest(told) if told else None

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON can hold it."""
        return {
            "processes": [
                {
                    "process": dict(each.facts),
                    "totals": dict(each.totals),
                    "history": each.history,
                    "seconds": round(each.seconds, 6),
                    "dropped": list(each.dropped),
                }
                for each in self.processes
            ],
            "silent": [
                {"pid": each.pid, "address": each.address, "is_certain": each.is_certain}
                for each in self.silent
            ],
            "missing": self.missing,
            "totals": self.totals(),
            "history": self.history(),
            "commands": self.commands,
            "seconds": round(self.seconds, 6),
            "ignored": self.ignored,
            "unreachable": self.unreachable,
            "unkept": self.unkept,
        }
