"""The table of docs/reliability.rst is the one that the program prints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .measure import FAULTS, ROWS, Call, User
from .site import GOOD, TITLES
from .table import HEAD, cell, rst, text

PAGE = Path(__file__).resolve().parents[3] / "docs" / "reliability.rst"


def column(**options: Any) -> dict[str, Any]:
    return {"seen": {"value": 9}, "longest_s": 0.04, "good_again_s": 0.0, **options}


def rows() -> dict[str, Any]:
    columns = {title: column() for title in TITLES}
    row = {"lasted_s": 10.0, "columns": columns, "jobs": {"taken": 9, "lost": 0}}
    return dict.fromkeys(ROWS, row)


def table_of(page: str) -> list[list[str]]:
    """Return the rows of the first list-table."""
    lines = page.split(".. list-table::", 1)[1].splitlines()
    found: list[list[str]] = []
    for line in lines[1:]:
        if line.strip() and not line.startswith("   "):
            break
        if line.startswith("   * - "):
            found.append([])
        if line.startswith(("   * - ", "     - ")):
            found[-1].append(line[7:])
    return found


def test_the_page_has_the_rows_and_columns_that_the_program_prints() -> None:
    printed, documented = table_of(rst(rows())), table_of(PAGE.read_text())
    assert documented[0] == list(HEAD)
    assert [row[0] for row in documented] == [row[0] for row in printed]
    assert {len(row) for row in documented} == {len(HEAD)}


def test_the_page_explains_each_fault() -> None:
    lines = PAGE.read_text().splitlines()
    assert [fault for fault in ROWS if fault not in lines] == []


def test_a_cell_says_what_was_seen_the_longest_call_and_how_long_it_was_bad() -> None:
    assert cell(column()) == "value; 0.0 s"
    seen = {"a": 1, "b": 3, "c": 2, "d": 1}
    assert cell(column(seen=seen, longest_s=1.02, good_again_s=0.26)) == (
        "b / c / a / ...; 1.0 s, +0.3 s"
    )


def test_the_text_names_each_fault_and_column() -> None:
    printed = text(rows())
    assert all(f"{fault} (10.0 s)" in printed for fault in FAULTS)
    assert all(title in printed for title in HEAD[1:])


def user(*calls: tuple[float, float, str]) -> User:
    made = User(str, GOOD[0], None)  # type: ignore[arg-type]
    made.calls = [Call(*call) for call in calls]
    return made


def test_what_is_seen_after_the_fault_counts_while_it_is_bad() -> None:
    one = user((0, 1, "value"), (4, 5, "Error"), (11, 13, "Error"), (14, 14.5, "value"))
    assert one.summary(3, 10) == {
        "seen": {"Error": 2},
        "longest_s": 2,
        "good_again_s": 4.5,
    }
    assert user((0, 1, "value"), (4, 6, "value"), (20, 21, "value")).summary(3, 10) == {
        "seen": {"value": 1},
        "longest_s": 2,
        "good_again_s": 0.0,
    }


def test_all_is_good_when_the_last_call_since_then_was() -> None:
    assert user((4, 5, "value")).is_good(since=3)
    assert not user((4, 5, "value"), (6, 7, "Error")).is_good(since=3)
    assert not user((2, 5, "value")).is_good(since=3)
