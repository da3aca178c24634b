"""The subject `all` of the benchmark: every other one, and the table of claims."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TextIO

from django.core.management.base import CommandParser

from redis_optimizer.management.benchmark.cache import command as cache
from redis_optimizer.management.benchmark.endpoints import command as endpoints
from redis_optimizer.management.benchmark.growth import command as growth
from redis_optimizer.management.benchmark.jobs import command as jobs
from redis_optimizer.management.benchmark.subjects import (
    Subject,
    default_options,
    project_subjects,
)
from redis_optimizer.management.benchmark.whole import claims
from redis_optimizer.management.benchmark.whole.claims import Row
from redis_optimizer.management.benchmark.whole.report import Part, Whole, render

__all__ = ["BOUNDS", "HELP", "add_arguments", "render", "run"]

HELP = "all of these, and what they say to the six claims of the original report"
CASES = ["kept", "duplicates", "web"]  # of jobs: those that a claim is made of
# option: (lowest, highest) value that makes sense
BOUNDS: dict[str, tuple[float, float]] = {
    "requests": (1, 100_000_000),
    "jobs": (1, 1_000_000),
    "clients": (1, 100_000),
    "interval": (0.01, 86_400),
    "seconds": (0.1, 86_400),
}


def add_arguments(parser: CommandParser) -> None:
    """Add the options."""
    add = parser.add_argument
    add(
        "--path",
        action="append",
        help="of the API, such as /api/status; may be given several times (none: the claim of API "
        "commands is not measured)",
    )
    add("--health-path", help="of the health check (health/ of redis_optimizer.urls)")
    add("--host", help="what requests are for (the first of ALLOWED_HOSTS)")
    add("--cookie", default="", help="a Cookie header for the API")
    add("--requests", type=int, default=100_000, help="of the cache (100,000)")
    add("--jobs", type=int, default=2000, help="in each case (2,000)")
    add("--clients", type=int, default=50, help="that poll endpoints (50)")
    add("--interval", type=float, default=30, help="seconds between two polls of a client (30)")
    add(
        "--seconds",
        type=float,
        default=60,
        help="that endpoints are polled, and that a project's own subjects take if they can (60)",
    )
    add("--growth", action="store_true", help="measure how costs grow, too: some minutes")


def run(options: dict[str, Any], stream: TextIO | None) -> Whole:
    """Run all subjects, one after the other.

    Args:
        stream: where progress goes; None shows none.

    Raises:
        CommandError: an option makes no sense, or no server can be started.
        WorkerError: a process failed.
        redis.RedisError: a server could not be reached.
    """
    parts: list[Part] = []

    def measure(title: str, subject: Subject, **changed: Any) -> Any:
        report = subject.run({**default_options(subject), **changed}, stream)
        parts.append(Part(title, subject, report))
        return report

    def poll(title: str, paths: list[str] | None, cookie: str = "") -> Any:
        chosen = {name: options[name] for name in ("clients", "interval", "seconds", "host")}
        return measure(title, endpoints, path=paths, cookie=cookie, **chosen)

    def hold() -> Iterator[Row]:
        # Those of the project first: what may be missing there is said before minutes are spent.
        health = options["health_path"] and [options["health_path"]]
        yield from claims.hold_endpoints(poll("Health checks", health), claims.HEALTH)
        if options["path"]:
            api = poll("API", options["path"], options["cookie"])
            yield from claims.hold_endpoints(api, claims.API)
        for name, subject in project_subjects().items():
            measure(name.capitalize(), subject, seconds=options["seconds"])
        yield from claims.hold_cache(measure("Cache", cache, requests=options["requests"]))
        yield from claims.hold_jobs(measure("Jobs", jobs, jobs=options["jobs"], case=CASES))

    rows = list(hold())
    if options["growth"]:
        measure("Growth", growth)
    return Whole(sorted(rows, key=lambda row: claims.CLAIMS.index(row.claim)), parts)
