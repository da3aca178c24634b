"""Compare health endpoints in one run: commands, queries and time of polls.

    python -m tests.benchmarks.health [--quick] [--json]

Each checks the same: the cache on Redis, and a database. Our verdict is kept for two minutes, the
others are made for each poll: that is the difference which is measured. The first poll is shown by
itself. Those in this environment are compared: the extra `test` has them.
"""

import argparse
import contextlib
import sys
import tempfile
from pathlib import Path
from typing import Any

import redis

from redis_optimizer.embedded import EmbeddedServer
from redis_optimizer.management.benchmark.figures import percentile
from redis_optimizer.management.benchmark.server import CommandCounter
from tests.benchmarks.health.site import CHECKS
from tests.benchmarks.peers import report
from tests.benchmarks.peers.child import Child

SITE = "tests.benchmarks.health.site"
PACKAGES = {"django-health-check": "django-health-check", "watchman": "django-watchman"}


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.health",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="little of each: to see that it works")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--polls", type=int, help="of each (1,000, or 20 with --quick)")
    given = parser.parse_args()
    polls = given.polls or (20 if given.quick else 1000)
    before = report.machine()
    rows: dict[str, Any] = {}
    absent: dict[str, str] = {}
    for kind in CHECKS:
        package = PACKAGES.get(kind, "")
        if package and not report.installed(package):
            absent[kind] = "not in this environment"
            continue
        report.note(kind)
        before["packages"] |= {package: report.installed(package)} if package else {}
        rows[kind] = measure(kind, polls)
    result = {"machine": before, "rows": rows, "absent": absent, "claims": []}
    report.show("Health endpoints", result, as_json=given.json, sections=[table(rows, polls)])


def measure(kind: str, polls: int) -> dict[str, Any]:
    """Return the figures of one endpoint."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(EmbeddedServer())
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="health-"))
        database = str(Path(directory, "site.sqlite3"))
        site = stack.enter_context(Child(sys.executable, SITE, kind, server.url, database))
        counter = CommandCounter(stack.enter_context(redis.Redis.from_url(server.url)))
        first = site.ask("poll", times=1)
        counter.lap()
        found = site.ask("poll", times=polls, within=300)
        commands = counter.lap().total()
    if set(found["statuses"]) != {"200"}:
        raise SystemExit(f"{kind} answered {found['statuses']}.")
    took = sorted(found["took"])
    return {
        "polls": polls,
        "commands": commands,
        "queries": found["queries"],
        "first_us": round(first["took"][0] * 1e6, 1),
        "p50_us": percentile(took, 50),
        "p99_us": percentile(took, 99),
    }


def table(rows: dict[str, Any], polls: int) -> str:
    ours = rows["ours"]["p50_us"]
    return report.table(
        f'{polls:,} polls after the first; times in us, "x" is this p50 by ours',
        ["", "commands", "queries", "p50", "x", "p99", "first poll"],
        [
            [
                kind,
                row["commands"],
                row["queries"],
                row["p50_us"],
                report.ratio(row["p50_us"], ours),
                row["p99_us"],
                row["first_us"],
            ]
            for kind, row in rows.items()
        ],
    )


if __name__ == "__main__":
    main()
