"""What was gathered, as tables."""

from collections.abc import Mapping
from typing import Any, Final

from redis_optimizer.management.stats.columns import (
    as_bytes,
    as_duration,
    as_share,
    as_table,
    number,
)
from redis_optimizer.stats.gathered import Gathered, Process, Silent

__all__ = ["as_answered", "as_rates", "as_silent", "as_tables"]

UNSEEN: Final = (
    "Processes without a channel are not seen: those that have read little from a cache so far."
)

MAX_ROWS: Final = 20
"""Views and endpoints that are shown, those that were asked most."""


def as_tables(gathered: Gathered, now: float, rates: Mapping[str, float] | None = None) -> str:
    """Return all that was gathered, as a person reads it.

    Args:
        gathered: What was gathered.
        now: Seconds since the epoch.
        rates: See `redis_optimizer.stats.rates.rates`; None where there are none yet.
    """
    totals = gathered.totals()
    parts = [
        as_answered(gathered),
        as_rates(rates),
        _commands(totals),
        _processes(gathered.processes, now),
        _caches(totals),
        _jobs(totals),
        _tasks(totals),
        _endpoints(totals),
        _views(totals),
    ]
    return "\n\n".join(filter(None, parts))


def as_answered(gathered: Gathered) -> str:
    """Return who answered, who did not, and what it cost."""
    answered = len(gathered.processes)
    lines = [
        f"{answered} {'process' if answered == 1 else 'processes'} answered in "
        f"{gathered.seconds:.2f} s; {gathered.commands} commands were sent for it."
    ]
    if gathered.silent:
        lines.append(as_silent(gathered))
    lines += [f"A server could not be asked: {error}" for error in gathered.unreachable]
    return "\n".join([*lines, UNSEEN])


def as_rates(rates: Mapping[str, float] | None) -> str:
    """Return how fast numbers grew since the last look."""
    if rates is None:
        return ""
    named = ", ".join(f"{name.replace('_', ' ')} {rate:,.1f}" for name, rate in rates.items())
    return f"Per second, since the last look: {named}."


def as_silent(gathered: Gathered) -> str:
    """Return who did not answer."""
    is_certain = all(each.is_certain for each in gathered.silent)
    words = "Did not answer" if is_certain else f"{gathered.missing} of these did not answer"
    return f"{words}: {', '.join(map(_name, gathered.silent))}."


def _name(silent: Silent) -> str:
    if silent.pid is None:
        return "a process that the server does not name"
    return f"pid {silent.pid} ({silent.address})"


def _processes(processes: list[Process], now: float) -> str:
    rows = []
    for process in processes:
        facts = process.facts
        caches = _parts(process.totals, "caches")
        hits = sum(number(cache, "hits") for cache in caches.values())
        reads = hits + sum(number(cache, "misses") for cache in caches.values())
        avoided = sum(number(cache, "commands_avoided") for cache in caches.values())
        rows.append(
            [
                f"{facts['kind']} {facts['command']}",
                str(facts["pid"]),
                facts["host"],
                as_duration(now - facts["started"]),
                f"{hits:,}",
                as_share(hits, reads),
                f"{avoided + number(process.totals, 'jobs', 'commands_avoided'):,}",
                as_bytes(sum(number(cache, "bytes") for cache in caches.values())),
                f"{number(process.totals, 'jobs', 'waiting', 'total_queued_jobs'):,}",
            ]
        )
    head = ["PROCESS", "PID", "HOST", "UP", "HITS", "RATIO", "AVOIDED", "KEPT", "WAITING JOBS"]
    return as_table(head, rows) if rows else ""


def _commands(totals: Mapping[str, Any]) -> str:
    sent, avoided = number(totals, "commands", "sent"), number(totals, "commands", "avoided")
    if not sent and not avoided:
        return ""
    by = _parts(_parts(totals, "commands"), "by")
    named = ", ".join(f"{name} {number(by, name):,}" for name in by)
    return (
        f"{sent:,} commands were sent ({named}), {avoided:,} were not: "
        f"{as_share(avoided, sent + avoided)} were avoided. "
        f"{number(totals, 'connections', 'open'):,} connections are open."
    )


def _caches(totals: Mapping[str, Any]) -> str:
    names = ("hits", "misses", "commands_avoided", "fills", "invalidations", "evictions", "entries")
    rows = []
    for alias, cache in _parts(totals, "caches").items():
        hits, misses = number(cache, "hits"), number(cache, "misses")
        rows.append(
            [
                alias,
                as_share(hits, hits + misses),
                *(f"{number(cache, name):,}" for name in names),
                as_bytes(number(cache, "bytes")),
                f"{number(cache, 'staleness_bound'):g} s",
            ]
        )
    head = ["CACHE", "RATIO", "HITS", "MISSES", "AVOIDED", "FILLS", "INVALIDATED", "EVICTED"]
    return as_table([*head, "ENTRIES", "KEPT", "BOUND"], rows) if rows else ""


def _jobs(totals: Mapping[str, Any]) -> str:
    sent, messages = number(totals, "jobs", "sent"), number(totals, "jobs", "messages")
    duplicates = number(totals, "jobs", "duplicates")
    if not sent and not duplicates:
        return ""
    words = (
        f"{sent:,} jobs left in {messages:,} messages, by {number(totals, 'jobs', 'sendings'):,} "
        f"commands; {duplicates:,} duplicates were not sent."
    )
    reasons = _parts(totals, "jobs").get("reasons")
    if isinstance(reasons, Mapping) and reasons:
        named = ", ".join(f"{name} {number(reasons, name):,}" for name in sorted(reasons))
        words += f" Why batches left: {named}."
    return words


def _tasks(totals: Mapping[str, Any]) -> str:
    tasks = _parts(_parts(totals, "jobs"), "tasks")
    names = ("buffered", "sent", "duplicates", "ran", "failed", "lost")
    rows = [[task, *(f"{number(tasks, task, name):,}" for name in names)] for task in sorted(tasks)]
    return as_table(["TASK", *map(str.upper, names)], rows) if rows else ""


def _endpoints(totals: Mapping[str, Any]) -> str:
    endpoints = _parts(totals, "endpoints")
    names = ("hits", "runs", "joined", "stale")
    rows = [
        [name, *(f"{number(endpoints, name, count):,}" for count in names)]
        for name in _most(endpoints, "hits", "runs")
    ]
    return as_table(["ENDPOINT", "HITS", "RUNS", "JOINED", "STALE"], rows) if rows else ""


def _views(totals: Mapping[str, Any]) -> str:
    views = _parts(totals, "views")
    rows = []
    for name in _most(views, "requests"):
        requests = number(views, name, "requests")
        mean = 1000 * number(views, name, "seconds") / requests if requests else 0
        errors = number(views, name, "responses", "5xx")
        rows.append([name, f"{requests:,}", f"{errors:,}", f"{mean:.1f}"])
    return as_table(["VIEW", "REQUESTS", "5XX", "MEAN MS"], rows) if rows else ""


def _parts(tree: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return a part of the totals; of one that has another form, nothing."""
    part = tree.get(name)
    return part if isinstance(part, Mapping) else {}


def _most(counted: Mapping[str, Any], *names: str) -> list[str]:
    def asked(name: str) -> float:
        return sum(number(counted, name, count) for count in names)

    return sorted(counted, key=lambda name: (-asked(name), name))[:MAX_ROWS]
