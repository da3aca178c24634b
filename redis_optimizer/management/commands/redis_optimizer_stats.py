"""Show what all processes of the site counted."""

import json
import time
from typing import Any, Final

from django.core.management.base import CommandError, CommandParser
from redis.exceptions import RedisError

from redis_optimizer.management.arguments import check_seconds
from redis_optimizer.management.help import CommandWithExamples
from redis_optimizer.management.stats.prometheus import as_prometheus
from redis_optimizer.management.stats.tables import as_silent, as_tables
from redis_optimizer.stats.gather import TIMEOUT, gather
from redis_optimizer.stats.gathered import Gathered
from redis_optimizer.stats.rates import rates

EXAMPLES: Final = """\
examples:
  manage.py redis_optimizer_stats                  one look
  manage.py redis_optimizer_stats --watch 5        again and again, until Ctrl-C
  manage.py redis_optimizer_stats --json --history | jq .totals
  manage.py redis_optimizer_stats --prometheus > /var/lib/node_exporter/redis_optimizer.prom

exit codes:
  0  all processes that have a channel answered
  1  nobody could be asked: Redis does not answer, or no cache has a tier
  2  the options are wrong
  3  a process did not answer in time, or a server could not be asked
  4  no process has a channel
"""

SILENT: Final = 3
NOBODY: Final = 4

CLEAR_SCREEN: Final = "\x1b[H\x1b[2J"


class NotAsked(CommandError):
    """Nobody could be asked now; a little later that may be otherwise."""


class Command(CommandWithExamples):
    """Ask all processes and print what they answer."""

    help = (
        "Asks every process of the site that has a channel what it counted since it began: web "
        "processes after their first reads of a cache, workers, and their children after their "
        "first job. It costs two commands and one for each process."
    )
    examples = EXAMPLES

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        form = parser.add_mutually_exclusive_group()
        form.add_argument("--json", action="store_true", help="print JSON, one object a line")
        form.add_argument("--prometheus", action="store_true", help="print Prometheus's text")
        add = parser.add_argument
        add("--history", action="store_true", help="with --json: the last hour, in steps of 10 s")
        add(
            "--watch",
            type=float,
            metavar="SECONDS",
            help="look again every so often, and show rates per second",
        )
        add(
            "--timeout",
            type=float,
            default=TIMEOUT,
            metavar="SECONDS",
            help=f"how long answers are awaited ({TIMEOUT:g})",
        )

    def handle(self, **options: Any) -> None:
        """Print what was gathered.

        Raises:
            CommandError: nobody could be asked, or not all answered; its returncode says which.
        """
        check_seconds(options, "watch", "timeout")
        if options["watch"] is None:
            self._judge(self._show(options))
            return
        if options["prometheus"]:
            raise CommandError("--prometheus does not go with --watch.", returncode=2)
        try:
            self._watch(options)
        except KeyboardInterrupt:
            return

    def _watch(self, options: dict[str, Any]) -> None:
        """Show what is gathered, and how fast it grew since the last look; outages pass."""
        before: tuple[Gathered, float] | None = None
        while True:
            try:
                before = self._show(options, before), time.monotonic()
            except NotAsked as error:
                self.stderr.write(f"{time.strftime('%H:%M:%S')} {error}")
                self.stderr.flush()
            time.sleep(options["watch"])

    def _show(
        self, options: dict[str, Any], before: tuple[Gathered, float] | None = None
    ) -> Gathered:
        try:
            gathered = gather(options["timeout"], history=options["history"])
        except LookupError as error:
            raise CommandError(str(error)) from error
        except (RedisError, OSError) as error:
            raise NotAsked(f"Redis cannot be asked: {error}") from error
        grown = None
        if before is not None:
            grown = rates(before[0], gathered, max(time.monotonic() - before[1], 0.001))
        if options["json"]:
            watched = {} if options["watch"] is None else {"rates": grown}
            text = json.dumps(gathered.as_dict() | watched)
        elif options["prometheus"]:
            text = as_prometheus(gathered)
        else:
            text = as_tables(gathered, time.time(), grown)
            if options["watch"] is not None and self.stdout.isatty():
                text = CLEAR_SCREEN + text
        self.stdout.write(text)
        self.stdout.flush()
        return gathered

    def _judge(self, gathered: Gathered) -> None:
        if gathered.unreachable:
            raise CommandError(f"Not asked: {'; '.join(gathered.unreachable)}", returncode=SILENT)
        if gathered.missing:
            raise CommandError(as_silent(gathered), returncode=SILENT)
        if not gathered.processes:
            raise CommandError("No process has a channel.", returncode=NOBODY)
