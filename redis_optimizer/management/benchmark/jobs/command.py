"""The subject `jobs` of the benchmark: its options, and how it is run."""

from __future__ import annotations

from typing import Any, TextIO

from django.core.management.base import CommandParser

from redis_optimizer.management.benchmark.jobs.report import Report
from redis_optimizer.management.benchmark.jobs.run import CASES, Benchmark, Setup
from redis_optimizer.management.benchmark.jobs.table import render

__all__ = ["BOUNDS", "HELP", "add_arguments", "render", "run"]

HELP = "compare with plain Celery"
# option: (lowest, highest) value that makes sense
BOUNDS: dict[str, tuple[float, float]] = {
    "jobs": (1, 1_000_000),
    "batch_size": (1, 10_000),
    "concurrency": (1, 64),
    "threads": (1, 64),
    "idle_seconds": (1, 86_400),
}


def add_arguments(parser: CommandParser) -> None:
    """Add the options."""
    add = parser.add_argument
    add("--jobs", type=int, default=2000, help="that are sent in each case (2,000)")
    add("--batch-size", type=int, default=100, help="jobs in one batch (100)")
    add("--concurrency", type=int, default=2, help="children of a worker (2)")
    add("--threads", type=int, default=8, help="of the web process (8)")
    add(
        "--idle-seconds",
        type=float,
        default=30,
        help="that idle workers are watched (30; what happens every few minutes shows in 1,200)",
    )
    add(
        "--case",
        action="append",
        choices=CASES,
        help="measure this alone; may be given several times (all)",
    )


def run(options: dict[str, Any], stream: TextIO | None) -> Report:
    """Run it.

    Args:
        stream: where progress goes; None shows none.

    Raises:
        ServerNotFound, ServerNotStarted: no server can be started.
        WorkerError: a process failed.
        redis.RedisError: the server could not be reached.
    """
    setup = Setup(
        jobs=options["jobs"],
        batch_size=options["batch_size"],
        concurrency=options["concurrency"],
        threads=options["threads"],
        idle_seconds=options["idle_seconds"],
        cases=options["case"] or CASES,
    )
    return Benchmark(setup, stream).run()
