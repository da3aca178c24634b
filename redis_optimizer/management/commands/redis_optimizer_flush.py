"""Say what is queued, and turn envelopes into plain messages."""

import json
import time
from dataclasses import asdict
from typing import Any

from celery import Celery
from celery.app import app_or_default
from django.core.management.base import BaseCommand, CommandError, CommandParser
from kombu.exceptions import OperationalError

from redis_optimizer.tasks.explode import explode
from redis_optimizer.tasks.queued import Queued, count_queued, find_queues


class Command(BaseCommand):
    """Show queues, or divide the envelopes in them."""

    help = (
        "Says what is queued in Celery's broker: plain messages, envelopes and the jobs in those, "
        "for each queue and priority. With --explode it turns the envelopes into plain messages of "
        "the same queue, which workers without redis_optimizer can run, too; this may be done "
        "beside running workers, and be broken off at any point."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        add = parser.add_argument
        add("--explode", action="store_true", help="turn envelopes into plain messages")
        add("--queue", action="append", metavar="NAME", help="only this queue; may be repeated")
        add("--dry-run", action="store_true", help="with --explode: say what it would do")
        add("--json", action="store_true", help="print the report as JSON")

    def handle(self, **options: Any) -> None:
        """Print what is queued, or what was done.

        Raises:
            CommandError: the broker is not Redis, or cannot be reached.
        """
        app = app_or_default()
        if app.connection_for_write().transport.driver_type != "redis":
            raise CommandError(
                f"The broker {app.connection_for_write().as_uri()} is not Redis. Import the Celery "
                "app in the package of the project, as Celery's guide for Django says."
            )
        self._shown = time.monotonic()
        self._is_quiet = options["verbosity"] == 0
        try:
            queues = options["queue"] or find_queues(app)
            if options["explode"] and not options["dry_run"]:
                reports = self._explode(app, queues)
            else:
                reports = self._count(app, queues, would=options["explode"])
        except OperationalError as error:
            raise CommandError(f"The broker cannot be reached: {error}") from error
        if options["json"]:
            self.stdout.write(json.dumps([report for report, _ in reports], indent=2))
        else:
            self.stdout.write("\n".join(line for _, line in reports) or "Nothing is queued.")

    def _count(
        self, app: Celery, queues: list[str], *, would: bool
    ) -> list[tuple[dict[str, Any], str]]:
        return [
            (asdict(queued), as_line(queued, would=would))
            for queue in queues
            for queued in count_queued(app, queue, self._show)
        ]

    def _explode(self, app: Celery, queues: list[str]) -> list[tuple[dict[str, Any], str]]:
        reports = []
        for queue in queues:
            done = explode(app, queue, report=self._show)
            report = asdict(done) | {"queue": queue}
            del report["is_complete"]  # it has all the time there is
            line = f"{queue}: {done.envelopes:,} envelopes became {done.jobs:,} plain messages"
            if done.unreadable:
                line += f"; {done.unreadable:,} that cannot be read are left"
            reports.append((report, line))
        return reports

    def _show(self, report: Any) -> None:
        """Show once a second how far it has got."""
        if not self._is_quiet and time.monotonic() - self._shown >= 1:
            self._shown = time.monotonic()
            self.stderr.write(f"{report.envelopes:,} envelopes, {report.jobs:,} jobs")


def as_line(queued: Queued, *, would: bool = False) -> str:
    """Return what a queue holds as a person reads it."""
    inside = f"{queued.envelopes:,} envelopes with {queued.jobs:,} jobs"
    line = f"{queued.queue}, priority {queued.priority}: {queued.plain:,} plain messages, {inside}"
    if would:
        line += f", which would become {queued.jobs:,} plain messages"
    if queued.unreadable:
        line += f"; {queued.unreadable:,} envelopes cannot be read"
    return line
