"""Say what costs commands or endangers data, and what to change."""

import json
import sys
from typing import Any, Final

from django.core.management.base import CommandError, CommandParser

from redis_optimizer.doctor.examine import examinations, examine
from redis_optimizer.doctor.findings import Severity
from redis_optimizer.doctor.look import SECONDS, look
from redis_optimizer.management.arguments import check_seconds
from redis_optimizer.management.doctor import as_text
from redis_optimizer.management.help import CommandWithExamples

EXAMPLES: Final = """\
examples:
  manage.py redis_optimizer_doctor                       look for 5 s, and say what is found
  manage.py redis_optimizer_doctor --seconds 60          better rates, of a site with little traffic
  manage.py redis_optimizer_doctor --json | jq .findings
  manage.py redis_optimizer_doctor --fail-on error       for a script: exit with 1 when data is in
                                                         danger
  manage.py redis_optimizer_doctor --list                what it looks for

exit codes:
  0    it has looked, whatever it found
  1    --fail-on: something as bad as that was found
  2    the options are wrong
  3    --fail-on: nothing as bad was found, but no server could be looked at
  130  it was stopped by Ctrl-C
"""

BLIND: Final = 3

STOPPED: Final = 130
"""As shells have it of what SIGINT ended."""


class Command(CommandWithExamples):
    """Look, and print what is found."""

    help = (
        "Looks at the settings, at each Redis server of the site for some seconds and at what its "
        "processes counted, and says what costs commands or endangers data, why, and what to "
        "change. It only reads."
    )
    examples = EXAMPLES

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        add = parser.add_argument
        add("--json", action="store_true", help="print JSON")
        add(
            "--seconds",
            type=float,
            default=SECONDS,
            metavar="N",
            help=f"how long the servers are watched ({SECONDS:g})",
        )
        add("--only", action="append", default=[], metavar="ID", help="look for this alone")
        add("--skip", action="append", default=[], metavar="ID", help="do not look for this")
        add("--list", action="store_true", help="print what is looked for, and end")
        add(
            "--fail-on",
            choices=[Severity.ERROR.value, Severity.WARNING.value],
            help="exit with 1 when something is found that is as bad as this, or worse",
        )

    def handle(self, **options: Any) -> None:
        """Print what is found.

        Raises:
            CommandError: an option is wrong, or --fail-on says so; its returncode says which.
        """
        if options["list"]:
            for each in examinations():
                self.stdout.write(f"{each.id}  {each.severity}")
            return
        self._check(options)
        quiet = options["verbosity"] == 0
        try:
            evidence = look(
                options["seconds"],
                say=lambda words: None if quiet else self.stderr.write(f"{words} ..."),
            )
        except KeyboardInterrupt:
            sys.exit(STOPPED)
        report = examine(evidence, only=options["only"], skip=options["skip"])
        text = json.dumps(report.as_dict(), indent=2) if options["json"] else as_text(report)
        self.stdout.write(text)
        if options["fail_on"] and (bad := report.at_least(Severity(options["fail_on"]))):
            raise CommandError(f"Found: {', '.join(dict.fromkeys(each.id for each in bad))}")
        if options["fail_on"] and evidence.unknown and not evidence.servers:
            raise CommandError("No server could be looked at.", returncode=BLIND)

    def _check(self, options: dict[str, Any]) -> None:
        check_seconds(options, "seconds")
        known = [each.id for each in examinations()]
        for name in ("only", "skip"):
            for id in options[name]:
                if id not in known:
                    raise CommandError(
                        f"--{name}: there is no {id!r}. There are: {', '.join(known)}.",
                        returncode=2,
                    )
