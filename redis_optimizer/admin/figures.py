"""What was seen, as the page shows it."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from django.utils.timezone import get_current_timezone_name, localtime
from django.utils.translation import gettext as _
from django.utils.translation import ngettext, pgettext

from redis_optimizer.admin.charts import as_charts, as_rows
from redis_optimizer.admin.formats import NOTHING, count, decimal, share, span
from redis_optimizer.admin.look import Look
from redis_optimizer.admin.rows import (
    Row,
    avoided_by,
    cache_rows,
    endpoint_rows,
    jobs_row,
    process_row,
    reads_of,
    server_row,
    silent_name,
    task_rows,
    view_rows,
)
from redis_optimizer.management.stats.columns import number
from redis_optimizer.switches import DESCRIPTIONS, PARTS

__all__ = ["figures"]


def figures(seen: Look, at: float) -> dict[str, Any]:
    """Return the context of the page's templates.

    Args:
        seen: What was seen.
        at: When, in seconds since the epoch.
    """
    gathered, totals = seen.gathered, seen.gathered.totals()
    history = gathered.history()
    since = min((each.facts["started"] for each in gathered.processes), default=at)
    parts = [_part(part, seen) for part in PARTS]
    return {
        "at": at,
        "at_time": localtime(datetime.fromtimestamp(at, UTC)),
        "zone": get_current_timezone_name(),
        "cost": ngettext(
            "This refresh cost %(count)s command.",
            "This refresh cost %(count)s commands.",
            seen.commands,
        )
        % {"count": count(seen.commands)},
        "seen": seen,
        "gathered": gathered,
        "tiles": _tiles(seen, totals, at),
        "charts": as_charts(history, at, since),
        "history": as_rows(history, at, since),
        "parts": parts,
        "switched_off": [part for part in parts if not part["is_on"]],
        "processes": [process_row(process, at) for process in gathered.processes],
        "silent": [{"pid": each.pid, "name": silent_name(each)} for each in gathered.silent],
        "caches": list(cache_rows(totals)),
        "jobs": jobs_row(totals),
        "tasks": list(task_rows(totals)),
        "endpoints": list(endpoint_rows(totals)),
        "views": list(view_rows(totals)),
        "servers": [server_row(server, at) for server in seen.servers],
    }


def _tiles(seen: Look, totals: Mapping[str, Any], at: float) -> list[dict[str, str]]:
    hits, reads = reads_of(totals)
    avoided, sent = avoided_by(totals), number(totals, "commands", "sent")
    lived = sum(at - process.facts["started"] for process in seen.gathered.processes)
    words = {"time": span(lived, 2), "share": share(avoided, avoided + sent)}
    jobs, messages = number(totals, "jobs", "sent"), number(totals, "jobs", "messages")
    found = [server.number("connected_clients") for server in seen.servers]
    clients = [each for each in found if each is not None]
    tiles = [
        {
            "name": _("Commands saved"),
            "value": count(avoided),
            "note": _("%(share)s of all, in %(time)s of process time") % words,
        },
        {
            "name": pgettext("figure", "Hit ratio"),
            "value": share(hits, reads),
            "note": ngettext(
                "%(hits)s of %(reads)s read", "%(hits)s of %(reads)s reads", int(reads)
            )
            % {"hits": count(hits), "reads": count(reads)},
        },
        {
            "name": _("Jobs per message"),
            "value": decimal(jobs / messages) if messages else NOTHING,
            "note": _("%(jobs)s in %(messages)s")
            % {
                "jobs": ngettext("%(count)s job", "%(count)s jobs", int(jobs))
                % {"count": count(jobs)},
                "messages": ngettext("%(count)s message", "%(count)s messages", int(messages))
                % {"count": count(messages)},
            },
        },
        {
            "name": _("Duplicates dropped"),
            "value": count(number(totals, "jobs", "duplicates")),
            "note": _("calls for which another job stood"),
        },
        {
            "name": pgettext("figure", "Connections"),
            "value": count(number(totals, "connections", "open")),
            "note": ngettext(
                "of these processes; %(clients)s clients at the server",
                "of these processes; %(clients)s clients at %(servers)s servers",
                len(clients),
            )
            % {"clients": count(sum(clients)), "servers": count(len(clients))}
            if clients
            else _("of these processes"),
        },
    ]
    if not seen.gathered.processes:  # a 0 would be one that was counted
        unknown = {"value": NOTHING, "note": _("no process answered")}
        return [tile | unknown for tile in tiles]
    return tiles


def _part(part: str, seen: Look) -> Row:
    state = seen.states[part]
    return {
        "name": part,
        "words": _(DESCRIPTIONS[part]),
        "is_on": state.on,
        "since": localtime(datetime.fromtimestamp(state.at, UTC)) if state.at else None,
        "by": state.by,
    }
