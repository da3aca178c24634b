"""Pruning the results of jobs within the time that a request has."""

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from django.utils.translation import gettext as _

from redis_optimizer.admin.done import Done, Refused
from redis_optimizer.admin.formats import count

if TYPE_CHECKING:
    from redis_optimizer.tasks.prune import Report

__all__ = ["SECONDS", "prune", "uses_celery"]

SECONDS: Final = 20
"""How long it may take: servers of sites end a request after 30 s."""

COMMAND: Final = "manage.py redis_optimizer_prune"


class TimeUp(Exception):
    """It takes longer than it may."""


def uses_celery() -> bool:
    """Tell whether this process has a Celery app; one that has none need not load it."""
    return "celery" in sys.modules


def prune(seconds: float = SECONDS, now: Callable[[], float] = time.monotonic) -> Done:
    """Trim results, as far as the time goes.

    Args:
        seconds: How long it may take; what is under way then ends with its batch.
        now: Clock in seconds; must be monotonic.

    Raises:
        Refused: there are no results that can be trimmed, or they could not be reached.
    """
    if not uses_celery():
        raise Refused(
            _(
                "This process has no Celery app. Import it in the package of the project, as "
                "Celery's guide for Django says."
            )
        )
    from celery.app import app_or_default

    from redis_optimizer.tasks.prune_places import NotTrimmed, find_places

    ends = now() + seconds
    last: list[Report] = []

    def watch(report: "Report") -> None:
        last[:] = [report]
        if now() > ends:
            raise TimeUp

    done = Done(_("Results were pruned"))
    app = app_or_default()
    app.loader.import_default_modules()  # the tasks say how many they keep
    try:
        for place in find_places(app):
            done.lines.append(_told(place(progress=watch)))
    except TimeUp:
        done.lines.append(_told(last[0]))
        done.warnings.append(
            _("The time was up. Do the rest by: %(command)s") % {"command": COMMAND}
        )
    except (LookupError, NotTrimmed) as error:
        if not done.lines:
            raise Refused(str(error)) from error
        done.warnings.append(str(error))
    return done


def _told(report: "Report") -> str:
    return _("%(place)s: %(seen)s looked at, %(dropped)s found to go") % {
        "place": report.place,
        "seen": count(report.seen),
        "dropped": count(report.dropped),
    }
