"""Have jobs sent that processes hold, say what is queued, turn envelopes into plain messages."""

import json
import time
from dataclasses import asdict
from typing import Any, Final

from celery import Celery
from celery.app import app_or_default
from django.core.management.base import CommandError, CommandParser
from kombu.exceptions import OperationalError

from redis_optimizer.management.help import CommandWithExamples
from redis_optimizer.management.stats.columns import number
from redis_optimizer.management.stats.orders import UNASKED, as_json, as_process, words_of
from redis_optimizer.management.stats.tables import as_silent
from redis_optimizer.stats import orders
from redis_optimizer.stats.gathered import Gathered, Process
from redis_optimizer.tasks.envelope import plain_queue
from redis_optimizer.tasks.explode import explode
from redis_optimizer.tasks.kombu.producers import visibility_timeout
from redis_optimizer.tasks.queued import (
    Queued,
    Unacked,
    count_queued,
    count_unacked,
    find_queues,
    find_steps,
    is_known,
)

EXAMPLES: Final = """\
examples:
  manage.py redis_optimizer_flush                      send what waits in processes, show queues
  manage.py redis_optimizer_flush --dry-run            show queues, change nothing
  manage.py redis_optimizer_flush --explode --dry-run  what dividing envelopes would make
  manage.py redis_optimizer_flush --explode            envelopes into plain messages
  manage.py redis_optimizer_flush --json | jq '.queues, .processes'

exit codes:
  0  done; also where processes cannot be asked, which stderr says
  1  the broker cannot be asked, the options make no sense, or envelopes are left
  3  a process did not answer in time, or a server could not be asked: jobs that wait there leave
     when their time has come, as ever
"""

SILENT: Final = 3


class Command(CommandWithExamples):
    """Have jobs sent and show queues, or divide the envelopes in them."""

    help = (
        "Has every process that has a channel send the jobs that it holds, and says what is queued "
        "in Celery's broker: plain messages, envelopes and the jobs in those, for each queue and "
        "priority. With --explode it turns the envelopes into plain messages of the same queue, "
        "which workers without redis_optimizer can run, too; this may be done beside running "
        "workers, and be broken off at any point. It ends with 1 while envelopes are left, be it "
        "with workers."
    )
    examples = EXAMPLES

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        add = parser.add_argument
        add("--explode", action="store_true", help="turn envelopes into plain messages")
        add("--queue", action="append", metavar="NAME", help="only this queue; may be repeated")
        add("--dry-run", action="store_true", help="change nothing, say what there is")
        add("--json", action="store_true", help="print JSON, one object a line")

    def handle(self, **options: Any) -> None:
        """Print what is queued, or what was done.

        Raises:
            CommandError: the broker is not Redis, or cannot be reached; envelopes are left that
                were to be divided; or not all processes answered: its returncode says which.
        """
        app = app_or_default()
        if app.connection_for_write().transport.driver_type != "redis":
            raise CommandError(
                f"The broker {app.connection_for_write().as_uri()} is not Redis. Import the Celery "
                "app in the package of the project, as Celery's guide for Django says."
            )
        self._shown = time.monotonic()
        self._is_quiet = options["verbosity"] == 0
        acts = options["explode"] and not options["dry_run"]
        asks = not options["explode"] and not options["dry_run"]
        gathered = self._flush() if asks else None
        if gathered is not None and not options["json"]:
            for process in gathered.processes:
                self.stdout.write(as_sent(process))
        try:
            unacked = count_unacked(app)
            queues = self._queues(app, options["queue"], unacked)
            if acts:
                found, left = self._explode(app, queues)
            else:
                found = left = self._count(app, queues, unacked)
        except OperationalError as error:
            raise CommandError(f"The broker cannot be reached: {error}") from error
        if options["json"]:
            told = as_json(gathered or Gathered(), "jobs", "left")
            self.stdout.write(json.dumps({"queues": list(map(asdict, found)), **told}))
        else:
            write = as_done if acts else as_planned if options["explode"] else as_queued
            self.stdout.write("\n".join(map(write, found)) or "Nothing is queued.")
        if acts and (words := as_left(app, left)):
            raise CommandError(words)
        if not options["json"] and any(queued.unacked for queued in found):
            self.stdout.write(as_left(app, left, envelopes=False))
        if gathered is not None and gathered.unreachable:
            raise CommandError(f"Not asked: {'; '.join(gathered.unreachable)}", returncode=SILENT)
        if gathered is not None and gathered.missing:
            raise CommandError(as_silent(gathered), returncode=SILENT)

    def _flush(self) -> Gathered | None:
        """Have all processes send what they hold; say so where none can be asked."""
        try:
            return orders.flush()
        except UNASKED as error:
            self.stderr.write(f"No process was asked to send what it holds. {words_of(error)}")
            return None

    def _queues(self, app: Celery, names: list[str] | None, unacked: Unacked) -> list[str]:
        if not names:
            return sorted({*find_queues(app), *(queue for queue, _ in unacked)})
        queues = [plain_queue(name) or name for name in names]
        held = {queue for queue, _ in unacked}
        for queue in queues:
            if queue not in held and not is_known(app, queue):
                raise CommandError(
                    f"Queue {queue} is unknown: the app does not name it, nothing is in it and no "
                    "worker has consumed it."
                )
        return queues

    def _count(self, app: Celery, queues: list[str], unacked: Unacked) -> list[Queued]:
        return [
            queued for queue in queues for queued in count_queued(app, queue, self._show, unacked)
        ]

    def _explode(self, app: Celery, queues: list[str]) -> tuple[list[Queued], list[Queued]]:
        """Return what was done, and what there is now."""
        steps = find_steps(app)
        done = {
            (queue, step): explode(app, queue, priority=step, report=self._show)
            for queue in queues
            for step in steps
        }
        # In this order: an envelope that comes back meanwhile is seen in its queue.
        left = self._count(app, queues, count_unacked(app))
        found = {(queued.queue, queued.priority): queued for queued in left}
        return [
            Queued(
                queue,
                step,
                plain=now.plain if now else 0,
                envelopes=exploded.envelopes,
                jobs=exploded.jobs,
                unreadable=exploded.unreadable,
                unacked=now.unacked if now else 0,
            )
            for (queue, step), exploded in done.items()
            if (now := found.get((queue, step))) or exploded.envelopes
        ], left

    def _show(self, report: Any) -> None:
        """Show once a second how far it has got."""
        if not self._is_quiet and time.monotonic() - self._shown >= 1:
            self._shown = time.monotonic()
            self.stderr.write(f"{report.envelopes:,} envelopes, {report.jobs:,} jobs")


def as_sent(process: Process) -> str:
    """Return what a process sent, as a person reads it."""
    jobs, left = (number(process.totals, "done", name) for name in ("jobs", "left"))
    rest = f", {left:,} are left" if left else ""
    return f"{as_process(process.facts)}: {jobs:,} jobs sent{rest}"


def as_queued(queued: Queued) -> str:
    """Return what a queue holds as a person reads it."""
    return _place(queued) + _contents(queued) + _rest(queued)


def as_planned(queued: Queued) -> str:
    """Return what would be done, as a person reads it."""
    would = f", which would become {queued.jobs:,} plain messages"
    return _place(queued) + _contents(queued) + would + _rest(queued)


def as_done(queued: Queued) -> str:
    """Return what was done, as a person reads it."""
    done = f"{queued.envelopes:,} envelopes became {queued.jobs:,} plain messages"
    return _place(queued) + done + _rest(queued)


def as_left(app: Celery, left: list[Queued], *, envelopes: bool = True) -> str:
    """Return what is to be known about envelopes that are left, "" when none is."""
    unacked = sum(queued.unacked for queued in left)
    queued = sum(queued.envelopes for queued in left) if envelopes else 0
    words = []
    if unacked:
        words.append(
            f"{unacked:,} envelopes are with workers, or were left by killed ones: these come back "
            f"within the visibility timeout ({visibility_timeout(app):,.0f} s); run it again."
        )
    if queued:
        words.append(f"{queued:,} envelopes are left, or have come meanwhile.")
    return " ".join(words)


def _place(queued: Queued) -> str:
    return f"{queued.queue}, priority {queued.priority}: "


def _contents(queued: Queued) -> str:
    inside = f"{queued.envelopes:,} envelopes with {queued.jobs:,} jobs"
    return f"{queued.plain:,} plain messages, {inside}"


def _rest(queued: Queued) -> str:
    rest = ""
    if queued.unreadable:
        rest += f"; {queued.unreadable:,} envelopes cannot be read"
    if queued.unacked:
        rest += f"; {queued.unacked:,} envelopes with workers"
    return rest
