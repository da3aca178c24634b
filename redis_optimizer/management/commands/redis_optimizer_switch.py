"""Switch a part off or on in all processes, or show how the parts are switched."""

import getpass
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

from django.core.management.base import CommandError, CommandParser

from redis_optimizer.management.help import CommandWithExamples
from redis_optimizer.management.stats.columns import as_table
from redis_optimizer.management.stats.orders import UNASKED, as_process, words_of
from redis_optimizer.management.stats.tables import as_answered, as_silent
from redis_optimizer.stats import orders
from redis_optimizer.stats.gather import gather
from redis_optimizer.stats.gathered import Gathered
from redis_optimizer.switches import DESCRIPTIONS, PARTS, State

ALL: Final = "all"

EXAMPLES: Final = f"""\
parts:
{chr(10).join(f"  {part:<10} {text}" for part, text in DESCRIPTIONS.items())}
  {ALL:<10} All of these.

examples:
  manage.py redis_optimizer_switch                how the parts are switched, here and there
  manage.py redis_optimizer_switch cache off      all reads go to Redis, within a second
  manage.py redis_optimizer_switch cache on
  manage.py redis_optimizer_switch all off        as if redis_optimizer was not there
  manage.py redis_optimizer_switch --json | jq .parts.cache.on

exit codes:
  0  all processes that have a channel do so
  1  a process heard and did not confirm, is switched another way than Redis says, or could not
     be asked; it is named
  2  nobody could be asked, or the options are wrong
"""

UNCONFIRMED: Final = 1
NOBODY: Final = 2


class Command(CommandWithExamples):
    """Switch parts at run time."""

    help = (
        "Switches a part off or on in every process that has a channel, at once, and keeps that in "
        "Redis for processes whose channel opens later. Without arguments it says how the parts "
        "are switched."
    )
    examples = EXAMPLES

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        add = parser.add_argument
        add("part", nargs="?", choices=(*PARTS, ALL), metavar="PART", help="which, see below")
        add("state", nargs="?", choices=("on", "off"), metavar="on|off", help="what it is to be")
        add("--json", action="store_true", help="print JSON, one object a line")

    def handle(self, **options: Any) -> None:
        """Switch or show.

        Raises:
            CommandError: nobody could be asked, or not all did it; its returncode says which.
        """
        self._failed: list[str] = []
        part, state = options["part"], options["state"]
        if part is not None and state is None:
            raise CommandError(f"Say on or off: redis_optimizer_switch {part} off", returncode=2)
        as_json, on = options["json"], state == "on"
        done: list[tuple[str, Gathered]] = []
        try:
            if part is None:
                seen = orders.read_states(), gather()
            for each in PARTS if part == ALL else filter(None, (part,)):
                done.append((each, orders.switch(each, on, by=_me())))
        except UNASKED as error:
            raise CommandError(words_of(error), returncode=NOBODY) from error
        finally:  # not in between: whoever reads this may go away, as `head` does
            for each, gathered in done:
                self._tell(each, on, gathered, as_json=as_json)
        if part is None:
            self._show(*seen, as_json=as_json)
        if self._failed:
            raise CommandError("\n".join(dict.fromkeys(self._failed)), returncode=UNCONFIRMED)

    def _tell(self, part: str, on: bool, gathered: Gathered, *, as_json: bool) -> None:
        refused = orders.unconfirmed(gathered, part, on)
        if as_json:
            confirmed = [p.facts for p in gathered.processes if p.facts not in refused]
            self._print(
                {
                    **{"part": part, "on": on, "unkept": gathered.unkept},
                    **{"confirmed": confirmed, "unconfirmed": refused},
                    **_rest(gathered),
                }
            )
        else:
            for process in gathered.processes:
                word = "not confirmed" if process.facts in refused else _word(on)
                self.stdout.write(f"{as_process(process.facts)}: {part} {word}")
            self.stdout.write(f"{part} {_word(on)}: {as_answered(gathered)}")
        for error in gathered.unkept:
            self.stderr.write(f"{part}: processes to come may not learn of it. {error}")
        self._note(gathered)
        self._failed += [f"Did not switch {part}: {as_process(facts)}" for facts in refused]

    def _show(self, states: Mapping[str, State], gathered: Gathered, *, as_json: bool) -> None:
        gathered = replace(gathered, commands=gathered.commands + orders.cost_of_reading())
        others = {part: _differing(gathered, part, state) for part, state in states.items()}
        if as_json:
            parts = {
                part: {
                    **{"on": state.on, "at": state.at or None, "by": state.by},
                    **{"description": DESCRIPTIONS[part], "differ": others[part]},
                }
                for part, state in states.items()
            }
            processes = [
                {"process": dict(p.facts), "switches": p.totals.get("switches")}
                for p in gathered.processes
            ]
            self._print({"parts": parts, "processes": processes, **_rest(gathered)})
        else:
            rows = [
                [part, _word(state.on), _since(state), state.by or "-", _count(gathered, part)]
                for part, state in states.items()
            ]
            self.stdout.write(as_table(["PART", "STATE", "SINCE", "BY", "PROCESSES"], rows))
            self.stdout.write(f"\n{as_answered(gathered)}")
        self._note(gathered)
        for part, found in others.items():
            word = _word(not states[part].on)
            self._failed += [f"{part} is {word} in {as_process(facts)}" for facts in found]

    def _note(self, gathered: Gathered) -> None:
        if gathered.unreachable:
            self._failed.append(f"Not asked: {'; '.join(gathered.unreachable)}")
        if gathered.missing:
            self._failed.append(as_silent(gathered))

    def _print(self, report: Mapping[str, Any]) -> None:
        self.stdout.write(json.dumps(report))


def _me() -> str:
    try:
        return f"{getpass.getuser()} (command)"
    except (OSError, KeyError, ImportError):  # a container's user may have no name
        return "command"


def _word(on: bool) -> str:
    return "on" if on else "off"


def _since(state: State) -> str:
    if not state.at:
        return "-"
    # In the site's TIME_ZONE, which Django tells the system of.
    return f"{datetime.fromtimestamp(state.at, UTC).astimezone():%Y-%m-%d %H:%M:%S}"


def _is_on(switched: Any, part: str) -> bool | None:
    """Return how a process says that a part is; None where it says nothing."""
    said = switched.get(part) if isinstance(switched, Mapping) else None
    return said if isinstance(said, bool) else None


def _differing(gathered: Gathered, part: str, state: State) -> list[dict[str, Any]]:
    return [
        dict(process.facts)
        for process in gathered.processes
        if _is_on(process.totals.get("switches"), part) is (not state.on)
    ]


def _count(gathered: Gathered, part: str) -> str:
    said = [_is_on(process.totals.get("switches"), part) for process in gathered.processes]
    numbers = {_word(on): said.count(on) for on in (True, False)}
    return ", ".join(f"{number} {word}" for word, number in numbers.items() if number) or "-"


def _rest(gathered: Gathered) -> dict[str, Any]:
    whole = gathered.as_dict()
    return {name: whole[name] for name in ("silent", "missing", "unreachable", "commands")}
