"""What a benchmark found, as a table for people and as a dictionary for programs."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from redis_optimizer.management.benchmark.figures import align, percentile


@dataclass(frozen=True)
class Row:
    """One backend's run."""

    name: str
    commands: Counter[str]  # of the whole run, by command, as the server counted them
    connecting: Counter[str]  # before the run, not part of `commands`
    latencies: list[float]  # of the reads, in seconds, sorted
    stale: list[float]  # how long each stale read's value had been out of date, in seconds
    requests: int
    note: str = ""

    @property
    def per_thousand(self) -> float:
        """Return the commands per 1,000 requests."""
        return self._scale(self.commands.total())

    @property
    def hit_ratio(self) -> float:
        """Return the share of the reads that sent no GET."""
        reads = len(self.latencies)
        return 1 - self.commands["GET"] / reads if reads else 0.0

    def _scale(self, count: int) -> float:
        return round(count * 1000 / self.requests, 1)

    def as_dict(self) -> dict[str, Any]:
        """Return plain numbers: latencies in microseconds, ages in milliseconds."""
        return {
            "name": self.name,
            "commands_per_1000_requests": self.per_thousand,
            "by_command": {name: self._scale(n) for name, n in self.commands.most_common()},
            "connecting": dict(self.connecting.most_common()),
            "hit_ratio": round(self.hit_ratio, 4),
            "p50_us": percentile(self.latencies, 50),
            "p99_us": percentile(self.latencies, 99),
            "stale_reads": len(self.stale),
            "stale_max_ms": round(max(self.stale, default=0.0) * 1e3, 2),
            "note": self.note,
        }


@dataclass(frozen=True)
class Report:
    """All rows, and what they were measured on."""

    setting: dict[str, Any]
    floor: float  # commands per 1,000 requests of an L1 without bounds
    rows: list[Row]

    def as_dict(self) -> dict[str, Any]:
        """Return the report for `json.dumps`."""
        rows = [row.as_dict() for row in self.rows]
        return {**self.setting, "floor_commands_per_1000_requests": self.floor, "rows": rows}


def render(report: Report) -> str:
    """Return the report as text."""
    setting = report.setting
    head = [
        f"{setting['requests']:,} requests for {setting['keys']:,} keys from {setting['trace']},"
        f" {setting['writes_percent']:g} % writes ({setting['writes']:,}), values of"
        f" {setting['value_size']} bytes, seed {setting['seed']}",
        f"{_count(setting['processes'], 'process', 'es')} x {_count(setting['threads'], 'thread')}"
        f" on {setting['server']};"
        f" L1 of {setting['l1_entries']:,} entries ({setting['l1_percent']:g} % of the keys);"
        f" every key in Redis at the start: {'yes' if setting['preload'] else 'no'}",
    ]
    rows = [row.as_dict() for row in report.rows]
    table = [
        ["", "commands/1,000", "hit ratio", "p50 us", "p99 us", "stale reads", "oldest ms"],
        *(
            [
                row["name"],
                f"{row['commands_per_1000_requests']:,.1f}",
                f"{row['hit_ratio']:.1%}",
                _number(row["p50_us"]),
                _number(row["p99_us"]),
                f"{row['stale_reads']:,}",
                f"{row['stale_max_ms']:,.1f}",
            ]
            for row in rows
        ),
        ["a perfect L1", f"{report.floor:,.1f}", "", "", "", "", ""],
    ]
    lines = [*head, "", *align(table), "", "by command, per 1,000 requests:"]
    lines += [f"  {row['name']}: {_listing(row['by_command'])}" for row in rows]
    lines += ["", "connecting, before the run and not counted above:"]
    lines += [f"  {row['name']}: {_listing(row['connecting'])}" for row in rows]
    lines += [f"note on {row['name']}: {row['note']}" for row in rows if row["note"]]
    return "\n".join(lines)


def _count(number: int, noun: str, plural: str = "s") -> str:
    return f"{number:,} {noun}{plural if number != 1 else ''}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,.1f}"


def _listing(counts: dict[str, float]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items()) or "nothing"
