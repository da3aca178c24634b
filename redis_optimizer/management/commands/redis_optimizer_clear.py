"""Let all processes of the site forget what they keep of the caches."""

import json
from typing import Any, Final

from django.core.cache import InvalidCacheBackendError, caches
from django.core.management.base import CommandError, CommandParser

from redis_optimizer.cache.emptying import empty
from redis_optimizer.management.help import CommandWithExamples
from redis_optimizer.management.stats.columns import number
from redis_optimizer.management.stats.orders import (
    UNASKED,
    as_json,
    as_process,
    find_process,
    words_of,
)
from redis_optimizer.management.stats.tables import as_answered, as_silent
from redis_optimizer.stats import orders
from redis_optimizer.stats.gather import gather

EXAMPLES: Final = """\
examples:
  manage.py redis_optimizer_clear                             what processes keep
  manage.py redis_optimizer_clear --process 4711              what one of them keeps
  manage.py redis_optimizer_clear --cache default             the cache itself, after a question
  manage.py redis_optimizer_clear --cache default --no-input  ... without one
  manage.py redis_optimizer_clear --json | jq '.processes[].entries'

exit codes:
  0  done by all processes that have a channel
  1  nobody could be asked: Redis does not answer, or no cache has a tier; or a cache could not
     be cleared
  3  a process did not answer in time, or a server could not be asked: what is kept there is as
     fresh as ever, but not cleared
"""

SILENT: Final = 3


class Command(CommandWithExamples):
    """Clear what processes keep, or a cache as a whole."""

    help = (
        "Lets every process that has a channel forget what it keeps of the caches. Nothing in "
        "Redis is touched; with --cache that cache is cleared, too, for all who use it."
    )
    examples = EXAMPLES

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        add = parser.add_argument
        add("--process", metavar="ID_OR_PID", help="only this process forgets what it keeps")
        add("--cache", action="append", metavar="ALIAS", default=[], help="clear this cache, too")
        add("--json", action="store_true", help="print JSON, one object a line")
        add("--no-input", action="store_false", dest="interactive", help="do not ask back")

    def handle(self, **options: Any) -> None:
        """Clear, and say what each process did.

        Raises:
            CommandError: nobody could be asked, or not all answered; its returncode says which.
        """
        only = None
        as_text = not options["json"]
        cleared: list[str] = []
        if options["cache"] and options["interactive"] and not as_text:
            raise CommandError("With --json nothing is asked back: add --no-input.")
        try:
            if options["process"] is not None:
                only = find_process(gather(), options["process"])
            self._clear(options["cache"], cleared, ask_back=options["interactive"])
            gathered = orders.clear(only=only)
        except UNASKED as error:
            raise CommandError(words_of(error)) from error
        finally:  # not in between: whoever reads this may go away, as `head` does
            if as_text:
                for alias in cleared:
                    self.stdout.write(f"The cache {alias!r} is cleared.")
        if as_text:
            for process in gathered.processes:
                entries = number(process.totals, "done", "entries")
                self.stdout.write(f"{as_process(process.facts)}: {entries:,} entries")
            self.stdout.write(as_answered(gathered))
        else:
            report = {"caches": options["cache"], **as_json(gathered, "entries")}
            self.stdout.write(json.dumps(report))
        if gathered.unreachable:
            raise CommandError(f"Not asked: {'; '.join(gathered.unreachable)}", returncode=SILENT)
        if gathered.missing:
            raise CommandError(as_silent(gathered), returncode=SILENT)

    def _clear(self, aliases: list[str], cleared: list[str], *, ask_back: bool) -> None:
        # All or nothing, as far as one can tell before: names first, then questions.
        try:
            named = {alias: caches[alias] for alias in aliases}
        except InvalidCacheBackendError as error:
            raise CommandError(str(error)) from error
        if ask_back and not all(map(_is_confirmed, named)):
            raise CommandError("Nothing was cleared.")
        for alias in named:
            self._clear_one(alias)
            cleared.append(alias)

    def _clear_one(self, alias: str) -> None:
        try:
            empty(alias)
        except Exception as error:  # every backend has errors of its own
            raise CommandError(f"The cache {alias!r} could not be cleared: {error}") from error


def _is_confirmed(alias: str) -> bool:
    try:
        answer = input(
            f"This deletes all that the cache {alias!r} holds in Redis, and whatever else is in "
            "that database. Type 'yes' to go on: "
        )
    except EOFError:  # nobody is there to ask
        return False
    return answer == "yes"
