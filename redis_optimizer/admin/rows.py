"""The rows of the page's tables: text, as it is shown, and what buttons name."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from django.utils.timezone import localtime
from django.utils.translation import gettext as _

from redis_optimizer.admin.formats import (
    NOTHING,
    count,
    decimal,
    milliseconds,
    share,
    size,
    span,
)
from redis_optimizer.admin.servers import Server
from redis_optimizer.management.stats.columns import number
from redis_optimizer.stats.gathered import Process, Silent

__all__ = [
    "Row",
    "avoided_by",
    "cache_rows",
    "endpoint_rows",
    "jobs_row",
    "process_row",
    "reads_of",
    "server_row",
    "silent_name",
    "task_rows",
    "view_rows",
]

Row = dict[str, Any]

MAX_ROWS: Final = 20
"""Rows of a table of tasks, views, endpoints or commands: those of what was asked most."""


def process_row(process: Process, at: float) -> Row:
    """Return the row of a process that answered."""
    facts, totals = process.facts, process.totals
    hits, reads = reads_of(totals)
    kept = sum(number(cache, "bytes") for cache in _inner(totals, "caches").values())
    return {
        **facts,
        "up": span(at - facts["started"]),
        "since": localtime(datetime.fromtimestamp(facts["started"], UTC)),
        "hits": count(hits),
        "ratio": share(hits, reads),
        "avoided": count(avoided_by(totals)),
        "kept": size(kept),
        "waiting": count(number(totals, "jobs", "waiting", "total_queued_jobs")),
        "connections": count(number(totals, "connections", "open")),
        "connected_for": ", ".join(
            f"{purpose} {each}" for purpose, each in _counts(_inner(totals, "connections"), "by")
        ),
        "took": milliseconds(process.seconds),
    }


def cache_rows(totals: Mapping[str, Any]) -> Iterator[Row]:
    """Return a row for each alias."""
    names = ("hits", "misses", "commands_avoided", "fills", "invalidations", "evictions", "entries")
    for alias, cache in _inner(totals, "caches").items():
        hits, misses = number(cache, "hits"), number(cache, "misses")
        yield {
            "name": alias,
            "ratio": share(hits, hits + misses),
            **{name: count(number(cache, name)) for name in names},
            "kept": size(number(cache, "bytes")),
            "bound": decimal(number(cache, "staleness_bound"), 0),
        }


def jobs_row(totals: Mapping[str, Any]) -> Row | None:
    """Return what became of all jobs; None where nobody counts any."""
    jobs = _inner(totals, "jobs")
    if not jobs:
        return None
    names = ("sent", "messages", "sendings", "duplicates")
    return {
        **{name: count(number(jobs, name)) for name in names},
        "waiting": count(number(jobs, "waiting", "total_queued_jobs")),
        "reasons": _counts(jobs, "reasons"),
        "sizes": _counts(jobs, "sizes"),
    }


def _counts(tree: Mapping[str, Any], name: str) -> list[tuple[str, str]]:
    found = _inner(tree, name)
    return [(key, count(number(found, key))) for key in sorted(found, key=_in_order)]


def _in_order(name: str) -> tuple[bool, int, str]:
    return (not name.isdecimal(), int(name) if name.isdecimal() else 0, name)


def task_rows(totals: Mapping[str, Any]) -> Iterator[Row]:
    """Return a row for each task, the most frequent first."""
    tasks = _inner(_inner(totals, "jobs"), "tasks")
    for task in _most(tasks, "sent", "duplicates"):
        names = ("buffered", "sent", "duplicates")
        yield {"name": task, **{name: count(number(tasks, task, name)) for name in names}}


def endpoint_rows(totals: Mapping[str, Any]) -> Iterator[Row]:
    """Return a row for each decorated view or verdict, the most frequent first."""
    endpoints = _inner(totals, "endpoints")
    for name in _most(endpoints, "hits", "runs"):
        counts = {each: number(endpoints, name, each) for each in ("hits", "runs", "joined")}
        yield {
            "name": name,
            **{each: count(value) for each, value in counts.items()},
            "stale": count(number(endpoints, name, "stale")),
            "ratio": share(counts["hits"], sum(counts.values())),
        }


def view_rows(totals: Mapping[str, Any]) -> Iterator[Row]:
    """Return a row for each view, the most frequent first."""
    views = _inner(totals, "views")
    for name in _most(views, "requests"):
        requests, measured = number(views, name, "requests"), number(views, name, "measured")
        trips = number(views, name, "trips")
        yield {
            "name": name,
            "requests": count(requests),
            "errors": count(number(views, name, "responses", "5xx")),
            "mean": milliseconds(number(views, name, "seconds") / requests if requests else 0),
            "trips": decimal(trips / measured) if measured else NOTHING,
        }


def server_row(server: Server, at: float) -> Row:
    """Return the row of a server, with those of its commands.

    Args:
        server: What it says of itself.
        at: When it was asked, in seconds since the epoch; its own clock goes before that.
    """
    calls = sum(command.calls for command in server.commands)
    used, limit = server.number("used_memory"), server.number("maxmemory")
    clients, most = server.number("connected_clients"), server.number("maxclients")
    return {
        "name": server.name,
        "is_broker": server.is_broker,
        "at": server.clock() or at,
        "error": server.error,
        "version": server.info.get("valkey_version") or server.info.get("redis_version", NOTHING),
        "product": server.info.get("server_name", "redis"),
        "up": span(server.number("uptime_in_seconds") or 0),
        "memory": NOTHING if used is None else size(used),
        "limit": size(limit) if limit else _("no limit"),
        "policy": server.info.get("maxmemory_policy", NOTHING),
        "clients": NOTHING if clients is None else count(clients),
        "most_clients": NOTHING if most is None else count(most),
        "slow": NOTHING if server.slow is None else count(server.slow),
        "calls": count(calls),
        "total": calls,
        "commands": [
            {
                "name": command.name.upper(),
                "total": command.calls,
                "calls": count(command.calls),
                "share": share(command.calls, calls),
                "mean": decimal(command.microseconds / command.calls if command.calls else 0),
            }
            for command in server.commands[:MAX_ROWS]
        ],
    }


def reads_of(totals: Mapping[str, Any]) -> tuple[float, float]:
    """Return how many reads were answered in process, and how many there were."""
    caches = _inner(totals, "caches").values()
    hits = sum(number(cache, "hits") for cache in caches)
    return hits, hits + sum(number(cache, "misses") for cache in caches)


def avoided_by(totals: Mapping[str, Any]) -> float:
    """Return how many commands were not sent."""
    return number(totals, "commands", "avoided")


def _inner(tree: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return a part of the totals; of one that has another form, nothing."""
    part = tree.get(name)
    return part if isinstance(part, Mapping) else {}


def _most(counted: Mapping[str, Any], *names: str) -> list[str]:
    def asked(name: str) -> float:
        return sum(number(counted, name, each) for each in names)

    return sorted(counted, key=lambda name: (-asked(name), name))[:MAX_ROWS]


def silent_name(silent: Silent) -> str:
    """Return what is known of a process that did not answer."""
    if silent.pid is None:
        return _("a process that the server does not name")
    return _("pid %(pid)s (%(address)s)") % {"pid": silent.pid, "address": silent.address}
