"""What can be done from the page. Each action says who may, what it asks first, and what it did."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from django.utils.translation import gettext as _
from django.utils.translation import ngettext, pgettext

from redis_optimizer.admin.caches import clear_cache, clearable
from redis_optimizer.admin.done import Done, Question, Refused, told
from redis_optimizer.admin.formats import count
from redis_optimizer.admin.pruning import SECONDS, prune
from redis_optimizer.management.stats.columns import number
from redis_optimizer.stats import orders
from redis_optimizer.stats.gathered import Process
from redis_optimizer.switches import DESCRIPTIONS, PARTS

__all__ = ["ACTIONS", "Action"]

Given = Mapping[str, str]


@dataclass(frozen=True)
class Action(ABC):
    """Something that can be done from the page."""

    name: ClassVar[str]
    """In its URL."""

    permission: ClassVar[str]
    """Who may: the name of a permission of this app."""

    def check(self, given: Given) -> None:  # noqa: B027 - most have nothing to check
        """See that what the form says makes sense.

        Raises:
            Refused: it does not.
        """

    def question(self, given: Given) -> Question | None:
        """Return what is asked before; None where nothing has to be."""
        return None

    @abstractmethod
    def run(self, given: Given, by: str) -> Done:
        """Do it, and return what came of it.

        Args:
            given: What the form says.
            by: The name of whoever does it.

        Raises:
            redis.exceptions.RedisError, OSError, LookupError: nobody could be told.
            Refused: it could not be done.
        """


class ClearLocal(Action):
    """Let one process, or all, forget what they keep."""

    name = "clear-local"
    permission = "clear_local"

    def check(self, given: Given) -> None:
        only = given.get("only", "")
        if only and not (only.isalnum() and len(only) == 32):
            raise Refused(_("There is no such process."))

    def run(self, given: Given, by: str) -> Done:
        only = given.get("only") or None
        gathered = orders.clear(only=only)
        if only and not gathered.processes:
            raise Refused(_("That process does not answer: it has ended, or has no time."))
        return told(_("What processes keep was cleared"), gathered, _forgot)


class ClearCache(Action):
    """Empty a cache, in Redis."""

    name = "clear-cache"
    permission = "clear_cache"

    def check(self, given: Given) -> None:
        if given.get("alias") not in clearable():
            raise Refused(_("There is no such cache, or it is not in Redis."))

    def question(self, given: Given) -> Question:
        alias = given["alias"]
        return Question(
            _("Clear the cache “%(alias)s”?") % {"alias": alias},
            _(
                "This deletes all that the cache “%(alias)s” holds in Redis, and whatever else is "
                "in that database (%(server)s), for all who use it. It cannot be undone."
            )
            % {"alias": alias, "server": clearable()[alias]},
            _("Yes, clear the cache"),
        )

    def run(self, given: Given, by: str) -> Done:
        return clear_cache(given["alias"], _forgot)


class Flush(Action):
    """Let all processes send the jobs that they hold."""

    name = "flush"
    permission = "flush_batches"

    def run(self, given: Given, by: str) -> Done:
        return told(_("Buffered jobs were sent"), orders.flush(), _sent)


class Prune(Action):
    """Trim the results of jobs."""

    name = "prune"
    permission = "prune_results"

    def question(self, given: Given) -> Question:
        return Question(
            _("Prune results of jobs?"),
            _(
                "This keeps the last results of each task and lets go of those before, as "
                "manage.py redis_optimizer_prune does; with --dry-run that tells beforehand what "
                "would go. Here it ends after %(seconds)s seconds at the latest."
            )
            % {"seconds": count(SECONDS)},
            _("Yes, prune results"),
        )

    def run(self, given: Given, by: str) -> Done:
        return prune()


class Switch(Action):
    """Switch a part off or on, for all processes."""

    permission = "switch_parts"
    on: ClassVar[bool]

    def check(self, given: Given) -> None:
        if given.get("part") not in PARTS:
            raise Refused(_("There is no such part."))

    def run(self, given: Given, by: str) -> Done:
        part = given["part"]
        words = (
            _("The part “%(part)s” was switched on")
            if self.on
            else _("The part “%(part)s” was switched off")
        )
        gathered = orders.switch(part, self.on, by=by)
        return told(words % {"part": part}, gathered, _followed)


class SwitchOn(Switch):
    """Switch a part on again."""

    name = "switch-on"
    on = True


class SwitchOff(Switch):
    """Switch a part off."""

    name = "switch-off"
    on = False

    def question(self, given: Given) -> Question:
        part = given["part"]
        return Question(
            _("Switch the part “%(part)s” off?") % {"part": part},
            _(
                "%(words)s It will be off in all processes of the site, also in those that start "
                "later, until somebody switches it on again."
            )
            % {"words": _(DESCRIPTIONS[part])},
            _("Yes, switch it off"),
        )


def _forgot(process: Process) -> str:
    entries = int(number(process.totals, "done", "entries"))
    return ngettext("%(count)s entry", "%(count)s entries", entries) % {"count": count(entries)}


def _sent(process: Process) -> str:
    jobs = int(number(process.totals, "done", "jobs"))
    left = int(number(process.totals, "done", "left"))
    words = ngettext("%(count)s job", "%(count)s jobs", jobs) % {"count": count(jobs)}
    if left:
        words += _(", %(count)s left") % {"count": count(left)}
    return words


def _followed(process: Process) -> str:
    done: Any = process.totals.get("done")
    is_on = done.get("on") if isinstance(done, Mapping) else None
    if not isinstance(is_on, bool):
        return _("not confirmed")
    return pgettext("state", "on") if is_on else pgettext("state", "off")


ACTIONS: Final[tuple[Action, ...]] = (
    ClearLocal(),
    ClearCache(),
    Flush(),
    Prune(),
    SwitchOn(),
    SwitchOff(),
)
