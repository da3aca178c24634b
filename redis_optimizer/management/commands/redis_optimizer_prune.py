"""Trim the results of jobs that an older deployment left."""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from typing import Any, TextIO

from celery import states
from celery.app import app_or_default
from django.core.management.base import BaseCommand, CommandError, CommandParser

from redis_optimizer.tasks.prune import Report
from redis_optimizer.tasks.prune_places import NotTrimmed, find_places


class Command(BaseCommand):
    """Keep the last results of each task and let go of those before."""

    help = (
        "Keeps the last results of each task (KEEP_SUCCEEDED and KEEP_FAILED, or what the task "
        "says) in Celery's Redis result backend and in django-celery-results. Others are given 60 "
        "seconds in Redis and deleted in the database. Left alone: results of groups and chords, "
        "of jobs that are not finished or finished less than a minute ago, and whatever cannot be "
        "read. Results whose task was not stored (no result_extended) cannot be counted: those "
        "more than a day old go. In the database an older deployment left no trace of groups that "
        "were not saved: there, results stay for an hour."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        add = parser.add_argument
        add("--dry-run", action="store_true", help="say what would be done, and do nothing")
        add("--json", action="store_true", help="print the report as JSON")
        add("--task", metavar="NAME", help="only results of this task")
        add("--batch-size", type=_whole, default=500, metavar="N", help="results at a time (500)")

    def handle(self, **options: Any) -> None:
        """Trim every place where the site has results and print what was found.

        Raises:
            CommandError: there is no such place, or it could not be reached.
        """
        app = app_or_default()
        app.loader.import_default_modules()  # the tasks say how many they keep
        quiet = options["verbosity"] == 0
        arguments = {
            "task": options["task"],
            "dry_run": options["dry_run"],
            "batch_size": options["batch_size"],
            "progress": Progress(None if quiet else self.stderr),
        }
        try:
            reports = [prune(**arguments) for prune in find_places(app)]
        except (LookupError, NotTrimmed) as error:
            raise CommandError(str(error)) from error
        if options["json"]:
            dicts = [as_dict(report, dry_run=options["dry_run"]) for report in reports]
            self.stdout.write(json.dumps(dicts, indent=2))
        else:
            for report in reports:
                self.stdout.write("\n".join(as_lines(report, dry_run=options["dry_run"])))


class Progress:
    """A line each second of a run that takes longer than that.

    Args:
        stream: Where to; None shows nothing.
        now: The clock, in seconds.
    """

    def __init__(self, stream: TextIO | Any, now: Callable[[], float] = time.monotonic) -> None:
        self._stream, self._now = stream, now
        self._shown = now()

    def __call__(self, report: Report) -> None:
        """Show how far a report has got."""
        if self._stream is not None and self._now() - self._shown >= 1:
            self._shown = self._now()
            self._stream.write(f"{report.place}: {report.seen:,} seen, {report.dropped:,} to go")


def as_dict(report: Report, *, dry_run: bool) -> dict[str, Any]:
    """Return a report as JSON has it."""
    fate = "would_drop" if dry_run else "dropped"
    return {
        "place": report.place,
        "dry_run": dry_run,
        "seen": report.seen,
        fate: report.dropped,
        "left": dict(report.left),
        "tasks": {
            task: {
                kind: {"kept": tally.kept, fate: tally.dropped}
                for kind, tally in sorted(kinds.items())
            }
            for task, kinds in sorted(report.tasks.items())
        },
    }


def as_lines(report: Report, *, dry_run: bool) -> Iterator[str]:
    """Return a report as a person reads it."""
    fate = "would go" if dry_run else "go"
    yield f"Results at {report.place}: {report.seen:,} seen, {report.dropped:,} {fate}"
    for task, kinds in sorted(report.tasks.items()):
        for kind, tally in sorted(kinds.items()):
            word = "succeeded" if kind == states.SUCCESS else "failed"
            yield f"  {task}, {word}: {tally.kept:,} kept, {tally.dropped:,} {fate}"
    for reason, count in sorted(report.left.items()):
        yield f"  left alone, {reason}: {count:,}"


def _whole(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, not {text!r}")
    return int(text)
