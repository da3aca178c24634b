"""Counters with an hour of history: kept by looking at totals now and then, not by who counts.

What counts adds one to an integer of its own. Somebody who waits anyway brings the totals here.
"""

from collections import deque
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

__all__ = ["STEP", "STEPS", "History", "add_up", "merge"]

STEP: Final = 10.0
"""Seconds of one step."""

STEPS: Final = 360
"""Steps that are kept: an hour."""

MAX_SERIES: Final = 64
"""Names that are followed; more are left out."""

Number = int | float


class History:
    """How totals grew, in steps of ten seconds, of the last hour.

    Steps begin at multiples of ten seconds since the epoch, so that those of several processes can
    be added up. An hour of 64 names takes a megabyte at most; one in which nothing grew, nothing.

    Args:
        step: Seconds of one step.
        steps: How many are kept.
    """

    def __init__(self, step: float = STEP, steps: int = STEPS) -> None:
        self.step = step
        self.steps = steps
        self._grown: deque[tuple[int, dict[str, Number]]] = deque()  # the oldest first
        self._last: dict[str, Number] = {}
        self._since: int | None = None

    def note(self, totals: Mapping[str, Number], at: float) -> None:
        """Take note of how much was counted so far.

        Growth belongs to the step in which it began: who looks just after the end of each step has
        it where it was. After a longer pause all of it is put into the last whole step.

        Args:
            totals: By name; one that is lower than before was read amid a change, and counts again
                when it is higher than ever.
            at: Seconds since the epoch. Where a clock is set back, what grew after that moment is
                put into its step.
        """
        now = int(at // self.step)
        late = []
        while self._grown and self._grown[-1][0] > now:
            late.append(self._grown.pop()[1])
        for grown in late:
            self._add(now, grown)
        if self._since is not None:
            grown = {
                name: growth
                for name, total in totals.items()
                if name in self._last and (growth := total - self._last[name]) > 0
            }
            if grown:
                self._add(min(max(self._since, now - 1), now), grown)
        for name, total in totals.items():
            if name in self._last or len(self._last) < MAX_SERIES:
                self._last[name] = max(total, self._last.get(name, total))
        self._since = now

    def next_look(self, at: float) -> float:
        """Return the seconds until the step is over, when it should be looked at next."""
        return self.step - at % self.step

    def snapshot(self, at: float) -> dict[str, Any]:
        """Return the history as plain data.

        Args:
            at: Seconds since the epoch.

        Returns:
            step (seconds), begins (of the first step, in seconds since the epoch) and series: for
            each name that grew, how much in each step; all are of one length.
        """
        last = int(at // self.step)
        rows = [(slot, grown) for slot, grown in self._grown if last - self.steps < slot <= last]
        first = rows[0][0] if rows else last
        series: dict[str, list[Number]] = {}
        for slot, grown in rows:
            for name, growth in grown.items():
                series.setdefault(name, [0] * (last - first + 1))[slot - first] += growth
        return {"step": self.step, "begins": first * self.step, "series": series}

    def _add(self, slot: int, grown: dict[str, Number]) -> None:
        if self._grown and self._grown[-1][0] >= slot:
            last = self._grown[-1][1]
            for name, growth in grown.items():
                last[name] = last.get(name, 0) + growth
            return
        self._grown.append((slot, grown))
        while self._grown[0][0] <= slot - self.steps:
            self._grown.popleft()


def merge(snapshots: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Add up the histories of several processes, step by step.

    Args:
        snapshots: What `History.snapshot` returned; one with other steps than the first is left
            out.

    Returns:
        One that has the same form.
    """
    given = list(snapshots)
    step = given[0]["step"] if given else STEP
    given = [each for each in given if each["step"] == step and each["series"]]
    if not given:
        return {"step": step, "begins": 0.0, "series": {}}
    begins = [round(each["begins"] / step) for each in given]
    lengths = [max(map(len, each["series"].values())) for each in given]
    last = max(begin + length for begin, length in zip(begins, lengths, strict=True))
    first = max(min(begins), last - STEPS)
    series: dict[str, list[Number]] = {}
    for begin, each in zip(begins, given, strict=True):
        for name, values in each["series"].items():
            into = series.setdefault(name, [0] * (last - first))
            for place, value in enumerate(values, begin - first):
                if place >= 0:
                    into[place] += value
    return {"step": step, "begins": first * step, "series": series}


def add_up(trees: Iterable[Mapping[str, Any]], *, largest: Collection[str] = ()) -> dict[str, Any]:
    """Add up totals, which may be nested.

    Numbers are added, mappings merged. Of all else the first is kept if the others are the same,
    and None if not.

    Args:
        trees: The totals.
        largest: Names of numbers that are not added: the largest is kept.
    """
    total: dict[str, Any] = {}
    for tree in trees:
        for name, value in tree.items():
            before = total.get(name)
            if isinstance(value, Mapping):
                inner = [before] if isinstance(before, Mapping) else []
                total[name] = add_up([*inner, value], largest=largest)
            elif name not in total:
                total[name] = value
            elif not (_is_number(value) and _is_number(before)):
                total[name] = value if value == before else None
            else:
                total[name] = max(before, value) if name in largest else before + value
    return total


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
