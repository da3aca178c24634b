"""Measure what the caches and the jobs of this package save, by the count of a real server."""

from __future__ import annotations

import json
import sys
from typing import Any

import redis
from django.core.management.base import BaseCommand, CommandError, CommandParser

from redis_optimizer.management.benchmark.cache import command as cache
from redis_optimizer.management.benchmark.child import WorkerError
from redis_optimizer.management.benchmark.endpoints import command as endpoints
from redis_optimizer.management.benchmark.jobs import command as jobs

SUBJECTS = {"cache": cache, "endpoints": endpoints, "jobs": jobs}


class Command(BaseCommand):
    """Compare this package with plain django-redis, or with plain Celery."""

    help = (
        "cache: replays one sequence of cache requests over several processes, first against "
        "plain django-redis, then against TieredCache. jobs: sends the same jobs through plain "
        "Celery and then through this package, with real workers. endpoints: lets clients poll "
        "pages of this project. All print what a server counted."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare one subcommand a subject."""
        subjects = parser.add_subparsers(
            dest="subject", required=True, metavar="{cache,endpoints,jobs}"
        )
        for name, subject in SUBJECTS.items():
            chosen = subjects.add_parser(name, help=subject.HELP)
            subject.add_arguments(chosen)
            chosen.add_argument("--json", action="store_true", help="print the report as JSON")

    def handle(self, **options: Any) -> None:
        """Run the benchmark and print its report.

        Raises:
            CommandError: an option makes no sense, no server can be used, or a process failed.
        """
        subject = SUBJECTS[options["subject"]]
        check_bounds(options, subject.BOUNDS)
        try:
            report = subject.run(options, sys.stderr if options["verbosity"] else None)
        except (WorkerError, redis.RedisError) as error:
            raise CommandError(f"The benchmark failed: {error}") from error
        if options["json"]:
            self.stdout.write(json.dumps(report.as_dict(), indent=2))
        else:
            self.stdout.write(subject.render(report))


def check_bounds(options: dict[str, Any], bounds: dict[str, tuple[float, float]]) -> None:
    """Refuse numbers out of bounds.

    Raises:
        CommandError: with the option's name and bounds.
    """
    for name, (lowest, highest) in bounds.items():
        value = options[name]
        # "not within" rather than "outside": NaN compares false with everything.
        if value is not None and not lowest <= value <= highest:
            option = f"--{name.replace('_', '-')}"
            raise CommandError(f"{option} must lie between {lowest:,} and {highest:,}, not {value}")
