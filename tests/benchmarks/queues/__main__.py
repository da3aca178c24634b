"""Compare queues in one run: commands of a job, jobs a second, duplicates, idle workers.

    python -m tests.benchmarks.queues [--quick] [--json] [--only ours,celery]
                                      [--environments DIR | --here]

The same job for all: it writes a line to a file, and its result is ignored. One worker with two
processes, on a server of its own and, where it needs one, in an environment of its own. Commands
are counted by MONITOR; jobs a second without it, and the worker begins when all jobs are sent.
"""

import argparse
import contextlib
import time
from pathlib import Path
from typing import Any

from tests.benchmarks.peers import report
from tests.benchmarks.peers.child import Failed
from tests.benchmarks.peers.environments import DEFAULT, Environments, NotInstalled
from tests.benchmarks.queues.contenders import CONTENDERS
from tests.benchmarks.queues.site import SETTLED, Site

DUPLICATES = 50
QUIET = 5.0  # seconds without a job that runs: none is left


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.queues",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="little of each: to see that it works")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--only", help=f"of {', '.join(CONTENDERS)}")
    parser.add_argument("--environments", type=Path, default=DEFAULT, metavar="DIR")
    parser.add_argument("--here", action="store_true", help="no peer that must be installed")
    given = parser.parse_args()
    names = given.only.split(",") if given.only else list(CONTENDERS)
    if unknown := set(names) - set(CONTENDERS):
        parser.error(f"no such contender: {', '.join(sorted(unknown))}")
    jobs, idle = (100, 1.0) if given.quick else (1000, 60.0)
    environments = Environments(given.environments, only_here=given.here)
    before = report.machine()
    with contextlib.ExitStack() as stack:
        sites, rows, absent = start(names, environments, stack, jobs)
        report.note(f"idle workers, {idle:.0f} s")
        watch_idle(sites, rows, idle)
    result = {"machine": before, "rows": rows, "absent": absent, "claims": []}
    report.show("Queues", result, as_json=given.json, sections=sections(rows))


def start(
    names: list[str], environments: Environments, stack: contextlib.ExitStack, jobs: int
) -> tuple[dict[str, Site], dict[str, Any], dict[str, str]]:
    """Measure one after the other; return the sites that go on, the rows, and who is absent."""
    sites: dict[str, Site] = {}
    rows: dict[str, Any] = {}
    absent: dict[str, str] = {}
    for name in names:
        contender = CONTENDERS[name]
        try:
            python = environments.python(contender.environment)
        except NotInstalled as reason:
            absent[contender.title] = str(reason)
            continue
        report.note(contender.title)
        row = rows[name] = {"title": contender.title}
        try:
            site = stack.enter_context(Site(name, python))
            measure(site, row, jobs)
        except Failed as reason:
            row["failed"] = str(reason)
        else:
            sites[name] = site
    return sites, rows, absent


def measure(site: Site, row: dict[str, Any], jobs: int) -> None:
    """Send jobs twice, and then duplicates."""
    with site.wire() as wire:
        site.producer.ask("send", numbers=list(range(jobs)), within=300)
        site.wait(lambda runs: len(runs) >= jobs)
        time.sleep(SETTLED)
        counts = wire.counts()
    row["commands_per_job"] = counts.commands.total() / jobs
    row["commands"] = {name: n / jobs for name, n in counts.commands.most_common()}
    row["connections"] = site.connections()
    site.forget()
    with site.paused():
        sending = site.producer.ask("send", numbers=list(range(jobs)), within=300)
        resumed = time.monotonic()
    runs = site.wait(lambda runs: len(runs) >= jobs)
    row["sent_per_s"] = jobs / sending
    row["run_per_s"] = jobs / (max(at for _, at in runs) - resumed)
    row["lost"] = jobs - len({number for number, _ in runs})
    time.sleep(SETTLED)
    site.forget()
    with site.paused():
        site.producer.ask("send", numbers=[0] * (1 + DUPLICATES))
    runs = site.wait(all_ran)
    row["duplicates_queued"] = len(runs) - 1


def all_ran(runs: list[tuple[int, float]]) -> bool:
    """Tell whether no job and no duplicate is left."""
    return len(runs) > DUPLICATES or (bool(runs) and time.monotonic() - runs[-1][1] > QUIET)


def watch_idle(sites: dict[str, Site], rows: dict[str, Any], seconds: float) -> None:
    """Watch all workers at the same time."""
    with contextlib.ExitStack() as stack:
        wires = {name: stack.enter_context(site.wire()) for name, site in sites.items()}
        time.sleep(seconds)
        for name, wire in wires.items():
            sent = wire.counts().commands.total()
            rows[name]["idle_commands_per_minute"] = sent * 60 / seconds


def sections(rows: dict[str, Any]) -> list[str]:
    """Return the tables."""
    first = next(
        (row["commands_per_job"] for row in rows.values() if "commands_per_job" in row), None
    )
    shown = [
        report.table(
            'Jobs; "x" is the commands of a job by those of the first line. Of connections, the\n'
            "producer's and the worker's",
            [
                *("", "commands/job", "x", "sent/s", "run/s", "lost"),
                *(f"of {DUPLICATES} duplicates queued", "idle/min", "connections"),
            ],
            [
                [
                    row["title"],
                    row.get("commands_per_job"),
                    report.ratio(row.get("commands_per_job"), first),
                    row.get("sent_per_s"),
                    row.get("run_per_s"),
                    row.get("lost"),
                    row.get("duplicates_queued"),
                    row.get("idle_commands_per_minute"),
                    " + ".join(map(str, row.get("connections") or [])) or None,
                ]
                for row in rows.values()
            ],
        )
    ]
    failed = [f"{row['title']} failed: {row['failed']}" for row in rows.values() if "failed" in row]
    return [*shown, *(["\n".join(failed)] if failed else [])]


if __name__ == "__main__":
    main()
