"""The subject `growth` of the benchmark: its options, and how it is run."""

from __future__ import annotations

from typing import Any, TextIO

from django.core.management.base import CommandParser

from redis_optimizer.management.benchmark.growth.report import Report, render
from redis_optimizer.management.benchmark.growth.run import CASES, Benchmark, Setup

__all__ = ["BOUNDS", "HELP", "add_arguments", "render", "run"]

HELP = "show how costs grow with processes, keys and jobs"
# option: (lowest, highest) value that makes sense
BOUNDS: dict[str, tuple[float, float]] = {
    "processes": (1, 256),
    "requests": (1, 10_000_000),
    "keys": (1000, 10_000_000),
    "jobs": (1, 10_000_000),
}


def add_arguments(parser: CommandParser) -> None:
    """Add the options."""
    add = parser.add_argument
    add("--processes", type=int, default=8, help="at most (8)")
    add("--requests", type=int, default=20_000, help="that each process makes (20,000)")
    add("--keys", type=int, default=1_000_000, help="in L1, at most (1,000,000)")
    add("--jobs", type=int, default=100_000, help="that are sent, at most (100,000)")
    add(
        "--case",
        action="append",
        choices=list(CASES),
        help="measure this alone; may be given several times (all)",
    )


def run(options: dict[str, Any], stream: TextIO | None) -> Report:
    """Run it.

    Args:
        stream: where progress goes; None shows none.

    Raises:
        ServerNotFound, ServerNotStarted: no server can be started.
        WorkerError: a process failed.
        redis.RedisError: a server could not be reached.
    """
    setup = Setup(
        processes=options["processes"],
        requests=options["requests"],
        keys=options["keys"],
        jobs=options["jobs"],
        cases=options["case"] or list(CASES),
    )
    return Benchmark(setup, stream).run()
