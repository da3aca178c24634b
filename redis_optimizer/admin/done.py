"""What an action asks before, and what it reports afterwards."""

from collections.abc import Callable
from dataclasses import dataclass, field

from django.utils.translation import gettext as _

from redis_optimizer.admin.rows import silent_name
from redis_optimizer.stats.gathered import Gathered, Process

__all__ = ["Done", "Question", "Refused", "told"]


class Refused(Exception):
    """An action was not done; the text says why."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked before something is done that cannot be undone.

    Args:
        title: The question.
        text: What will happen.
        yes: What the button says that goes on.
    """

    title: str
    text: str
    yes: str


@dataclass(frozen=True, slots=True)
class Done:
    """What an action did.

    Args:
        title: What was done.
        lines: What each process, or each place, reported.
        warnings: What could not be done, and by whom.
    """

    title: str
    lines: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def told(title: str, gathered: Gathered, describe: Callable[[Process], str]) -> Done:
    """Return what processes reported that were told to do something.

    Args:
        title: What was done.
        gathered: Their answers.
        describe: Says what one of them did.
    """
    lines = []
    for process in gathered.processes:
        facts = process.facts
        words = {name: facts[name] for name in ("kind", "command", "pid", "host")}
        who = _("%(kind)s %(command)s, pid %(pid)s on %(host)s") % words
        lines.append(f"{who}: {describe(process)}")
    warnings = [
        _("A server could not be asked: %(error)s.") % {"error": error}
        for error in gathered.unreachable
    ]
    warnings += [
        _("Processes to come will not hear of it from a server: %(error)s.") % {"error": error}
        for error in gathered.unkept
    ]
    if gathered.missing:
        names = ", ".join(map(silent_name, gathered.silent))
        if all(each.is_certain for each in gathered.silent):
            warnings.append(_("Did not answer: %(names)s.") % {"names": names})
        else:
            some = {"count": gathered.missing, "names": names}
            warnings.append(_("%(count)s of these did not answer: %(names)s.") % some)
    if not lines and not warnings:
        warnings.append(_("No process answered: none has a channel."))
    return Done(title, lines, warnings)
