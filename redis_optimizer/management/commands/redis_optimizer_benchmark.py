"""Measure what this package saves, by the count of a real server."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import redis
from django.core.management.base import BaseCommand, CommandError, CommandParser

from redis_optimizer.embedded import ServerNotFound, ServerNotStarted
from redis_optimizer.management.benchmark.cache import command as cache
from redis_optimizer.management.benchmark.child import WorkerError
from redis_optimizer.management.benchmark.document import write_document
from redis_optimizer.management.benchmark.endpoints import command as endpoints
from redis_optimizer.management.benchmark.growth import command as growth
from redis_optimizer.management.benchmark.jobs import command as jobs
from redis_optimizer.management.benchmark.subjects import Subject, project_subjects
from redis_optimizer.management.benchmark.whole import command as whole

OWN: dict[str, Subject] = {
    "all": whole,
    "cache": cache,
    "endpoints": endpoints,
    "growth": growth,
    "jobs": jobs,
}


class Command(BaseCommand):
    """Compare this package with plain django-redis and plain Celery."""

    help = (
        "cache: replays one sequence of cache requests over several processes, first against "
        "plain django-redis, then against TieredCache. jobs: sends the same jobs through plain "
        "Celery and then through this package, with real workers. endpoints: lets clients poll "
        "pages of this project. growth: shows how costs grow. all: these, and the project's own, "
        "held against the claims of the report that this package descends from. What is printed "
        "is what a server counted."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare one subcommand a subject."""
        self.subjects = {**OWN, **project_subjects(OWN)}
        parsers = parser.add_subparsers(
            dest="subject", required=True, metavar=f"{{{','.join(sorted(self.subjects))}}}"
        )
        for name, subject in sorted(self.subjects.items()):
            chosen = parsers.add_parser(name, help=subject.HELP)
            subject.add_arguments(chosen)
            chosen.add_argument("--json", action="store_true", help="print the report as JSON")
            chosen.add_argument(
                "--html",
                type=Path,
                metavar="FILE",
                help="write the report there as well, as one page that needs nothing else",
            )

    def handle(self, **options: Any) -> None:
        """Run the benchmark and print its report.

        Raises:
            CommandError: an option makes no sense, no server can be used, a process failed, or the
                report cannot be written.
        """
        name = options["subject"]
        subject = self.subjects[name]
        check_bounds(options, subject.BOUNDS)
        page: Path | None = options["html"]
        if page is not None and not page.absolute().parent.is_dir():
            # At once, rather than after minutes of measuring.
            raise CommandError(f"--html: there is no directory {page.absolute().parent}")
        try:
            report = subject.run(options, sys.stderr if options["verbosity"] else None)
        except (ServerNotFound, ServerNotStarted) as error:
            raise CommandError(str(error)) from error
        except (WorkerError, redis.RedisError) as error:
            raise CommandError(f"The benchmark failed: {error}") from error
        if options["json"]:
            self.stdout.write(json.dumps(report.as_dict(), indent=2))
        else:
            self.stdout.write(subject.render(report))
        if page is not None:
            try:
                write_document(page, name, subject, report)
            except OSError as error:
                raise CommandError(f"--html: {error}") from error


def check_bounds(options: dict[str, Any], bounds: Mapping[str, tuple[float, float]]) -> None:
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
