"""Check that caches in several processes stay coherent, and report what was seen.

Run `python -m tests.e2e.checker --seconds 60 --faults` for a long one.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import pickle
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from threading import BrokenBarrierError

from redis_optimizer.embedded import EmbeddedServer
from tests.cluster import Cluster, cluster

from .faults import disturb
from .history import Tally, judge
from .mutations import MUTATIONS
from .plan import PLAIN, RAW, ROLES, TIERED, Plan
from .report import Report
from .worker import PATIENCE, work


def check(plan: Plan) -> Report:
    """Run a plan against a server of its own.

    Returns:
        The report; whether it is a good one is for the caller to say.

    Raises:
        RuntimeError: A process did not come to its end.
    """
    # Spawned, not forked: each process sets up Django by itself, as those of a site do.
    context = multiprocessing.get_context("spawn")
    with (
        cluster() if plan.cluster else EmbeddedServer(persistent=plan.faults) as server,
        tempfile.TemporaryDirectory() as folder,
    ):
        url = ",".join(server.urls) if isinstance(server, Cluster) else server.url
        gate = context.Barrier(len(plan.roles) + 1)
        processes = [
            context.Process(target=work, args=(plan, number, url, gate, folder), daemon=True)
            for number in range(len(plan.roles))
        ]
        report = Report(plan)
        try:
            for process in processes:
                process.start()
            gate.wait(PATIENCE)
            if plan.faults:
                report.faults = disturb(server, plan.seconds)
            gate.wait(plan.seconds + PATIENCE)
            for process in processes:
                process.join(PATIENCE)
        except BrokenBarrierError as error:
            raise RuntimeError("A process failed; it has printed why.") from error
        finally:
            for process in processes:
                if process.is_alive():
                    process.kill()
                    process.join()
        if codes := [process.exitcode for process in processes if process.exitcode]:
            raise RuntimeError(f"Processes ended with {codes}.")
        read_results(report, Path(folder))
    return report


def read_results(report: Report, folder: Path) -> None:
    """Judge what the processes left behind."""
    roles = report.plan.roles
    results = [
        pickle.loads((folder / f"{number}.pickle").read_bytes()) for number in range(len(roles))
    ]
    tallies = judge({number: result["history"] for number, result in enumerate(results)})
    ratios = []
    for number, (role, result) in enumerate(zip(roles, results, strict=True)):
        report.tallies.setdefault(role, Tally()).add(tallies[number])
        report.differing += result["differing"]
        report.errors.update(result["history"].errors)
        report.writes += sum(end != float("inf") for end in result["history"].writes.end)
        if role == TIERED:
            ratios.append(result["hit_ratio"])
    report.hit_ratio = sum(ratios) / len(ratios) if ratios else 0.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the checker as a program; return its exit status: 1 if anything was violated."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--threads", type=int, default=4, help="threads in each process")
    parser.add_argument(
        "--roles",
        nargs="+",
        choices=ROLES,
        default=[TIERED] * 4,
        help=f"what each process uses; a mixed fleet: {TIERED} {TIERED} {PLAIN} {RAW}",
    )
    parser.add_argument(
        "--writes", type=float, default=Plan.writes, help="share of the calls that write"
    )
    parser.add_argument("--pause", type=float, default=Plan.pause, help="seconds between calls")
    parser.add_argument("--faults", action="store_true", help="disturb the run")
    parser.add_argument("--cluster", action="store_true", help="on three nodes")
    parser.add_argument("--deaf", type=float, default=0.0, help="seconds without the channel")
    parser.add_argument("--mutation", choices=MUTATIONS, help="break the tier on purpose")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(arguments)
    plan = Plan(
        roles=tuple(given.roles),
        threads=given.threads,
        seconds=given.seconds,
        writes=given.writes,
        pause=given.pause,
        faults=given.faults,
        cluster=given.cluster,
        deaf=given.deaf,
        mutation=given.mutation,
        seed=given.seed,
    )
    report = check(plan)
    print(json.dumps(report.as_dict(), indent=2) if given.json else report)
    return 1 if report.violations else 0


if __name__ == "__main__":
    sys.exit(main())
