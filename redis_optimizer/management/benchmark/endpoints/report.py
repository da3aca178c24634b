"""What came of the endpoints, as a table for people and as a dictionary for programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from redis_optimizer.management.benchmark.figures import align, percentile

__all__ = ["Report", "Row", "render"]

Took = Mapping[str, list[tuple[float, float | None]]]


@dataclass(frozen=True)
class Row:
    """The project in one state.

    Args:
        name: of the state.
        commands: what the server counted, without those that opened connections.
        connecting: those that did.
        queries: to the databases.
        took: by path: seconds of each request, and of its view, if it came to one.
        statuses: by path: how often each status came.
    """

    name: str
    commands: Counter[str]
    connecting: Counter[str]
    queries: int
    took: Took
    statuses: Mapping[str, Mapping[str, int]]

    def times(self, path: str) -> dict[str, float | None]:
        """Return the median and the 99th percentile of a path's requests and views, in us."""
        request = sorted(took for took, _ in self.took[path])
        view = sorted(took for _, took in self.took[path] if took is not None)
        return {
            "request_p50_us": percentile(request, 50),
            "request_p99_us": percentile(request, 99),
            "view_p50_us": percentile(view, 50),
            "view_p99_us": percentile(view, 99),
        }

    def as_dict(self) -> dict[str, Any]:
        """Return plain numbers."""
        return {
            "name": self.name,
            "commands": self.commands.total(),
            "by_command": dict(self.commands.most_common()),
            "connecting": dict(self.connecting.most_common()),
            "queries": self.queries,
            "statuses": {path: dict(counts) for path, counts in self.statuses.items()},
            "times": {path: self.times(path) for path in self.took},
        }


@dataclass(frozen=True)
class Report:
    """What was compared, and what came of it; the first row is what the others are held against."""

    setting: Mapping[str, Any]
    rows: list[Row]

    def as_dict(self) -> dict[str, Any]:
        """Return the report for `json.dumps`."""
        return {**self.setting, "rows": [row.as_dict() for row in self.rows]}


def render(report: Report) -> str:
    """Return the report as text."""
    setting, first = report.setting, report.rows[0]
    lines = [
        f"{setting['clients']:,} clients, each every {setting['interval']:g} s for"
        f" {setting['seconds']:g} s: {setting['requests']:,} requests of each state;"
        f" {setting['server']}",
        "switched off: plain django-redis, no endpoint is kept; undecorated: with the tier of the"
        " caches, no endpoint is kept; decorated: as it is set.",
        "Commands are the server's count, those of the coherence channel included. A request is"
        " timed within the process, from the first middleware to the last.",
        "",
        *align(
            [
                ["", "commands", "", "queries", ""],
                *(
                    [
                        row.name,
                        f"{row.commands.total():,}",
                        _change(row.commands.total(), first.commands.total()),
                        f"{row.queries:,}",
                        _change(row.queries, first.queries),
                    ]
                    for row in report.rows
                ),
            ]
        ),
    ]
    for path in setting["paths"]:
        lines += ["", path, *align(list(_times(report, path)))]
    lines += ["", "by command:"]
    lines += [f"  {row.name}: {_listing(row.commands)}" for row in report.rows]
    lines += ["connecting, not counted above:"]
    lines += [f"  {row.name}: {_listing(row.connecting)}" for row in report.rows]
    return "\n".join(lines)


def _times(report: Report, path: str) -> Iterator[list[str]]:
    yield ["", "view p50 us", "", "p99 us", "request p50 us", "", "p99 us", "answers"]
    first = report.rows[0].times(path)
    for row in report.rows:
        times = row.times(path)
        yield [
            f"  {row.name}",
            _number(times["view_p50_us"]),
            _change(times["view_p50_us"], first["view_p50_us"]),
            _number(times["view_p99_us"]),
            _number(times["request_p50_us"]),
            _change(times["request_p50_us"], first["request_p50_us"]),
            _number(times["request_p99_us"]),
            " ".join(f"{status}: {n:,}" for status, n in sorted(row.statuses[path].items())),
        ]


def _change(value: float | None, before: float | None) -> str:
    if value is None or not before:
        return ""
    change = f"{value / before - 1:+.1%}"
    return "" if change == "+0.0%" else change


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"


def _listing(commands: Counter[str]) -> str:
    return ", ".join(f"{name} {n:,}" for name, n in commands.most_common()) or "nothing"
