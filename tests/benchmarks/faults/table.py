"""The rows as a table to read, and as one for the documentation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .measure import ROWS
from .site import TITLES

SHOWN = 3  # kinds of answers in a cell


def cells(row: Mapping[str, Any]) -> list[str]:
    """Return the cells of a fault."""
    return [cell(row["columns"][title]) for title in TITLES] + [
        f"{row['jobs']['lost']} of {row['jobs']['taken']}"
    ]


def cell(column: Mapping[str, Any]) -> str:
    """Say what was seen, the longest call, and how long it was bad after the fault."""
    ranked = sorted(column["seen"].items(), key=lambda item: -item[1])
    seen = [name for name, _ in ranked[:SHOWN]]
    more = ["..."] if len(ranked) > SHOWN else []
    again = column["good_again_s"]
    after = f", +{again:.1f} s" if again else ""
    return f"{' / '.join(seen + more)}; {column['longest_s']:.1f} s{after}"


HEAD = ("Redis", *TITLES, "Jobs lost")


def text(rows: Mapping[str, Any]) -> str:
    """Return a block of lines for each fault."""
    lines = []
    for fault in filter(rows.__contains__, ROWS):
        lines.append(f"{fault} ({rows[fault]['lasted_s']:.1f} s)")
        lines += [
            f"  {title:<12} {value}"
            for title, value in zip(HEAD[1:], cells(rows[fault]), strict=True)
        ]
    return "\n".join(lines)


def rst(rows: Mapping[str, Any]) -> str:
    """Return the table of docs/reliability.rst."""
    lines = [".. list-table::", "   :header-rows: 1", "   :stub-columns: 1", ""]
    body = [(fault, *cells(rows[fault])) for fault in ROWS if fault in rows]
    for row in (HEAD, *body):
        for number, value in enumerate(row):
            lines.append(f"   {'* -' if number == 0 else '  -'} {value}")
    return "\n".join(lines)
