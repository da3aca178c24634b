"""What a process counted as metrics: names, kinds and labels that all exporters share."""

from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal, NamedTuple

__all__ = ["METRICS", "PREFIX", "Labels", "Metric", "Sample", "labels_of", "number", "samples_of"]

PREFIX: Final = "redis_optimizer"

Labels = dict[str, str]


class Metric(NamedTuple):
    """What is told of a number beside its value."""

    kind: Literal["counter", "gauge"]
    text: str
    unit: str = ""
    """As UCUM has it: "By" for bytes, "s" for seconds."""


class Sample(NamedTuple):
    """A number: its name in `METRICS`, its labels and its value."""

    name: str
    labels: Labels
    value: float


_CACHE: Final = {
    "hits": Metric("counter", "Reads that were answered in the process."),
    "misses": Metric("counter", "Reads that went to Redis."),
    "commands_avoided": Metric("counter", "Commands that were not sent."),
    "fills": Metric("counter", "Values that were kept."),
    "invalidations": Metric(
        "counter", "Values that were dropped because they were written elsewhere."
    ),
    "evictions": Metric("counter", "Values that were dropped to make room."),
    "loads_shared": Metric("counter", "Callers that waited for the load of another."),
    "stale_served": Metric("counter", "Reads that were answered by what was known before."),
    "unsigned": Metric("counter", "Values that counted as none, as they were not signed."),
    "entries": Metric("gauge", "Entries that are kept."),
    "bytes": Metric("gauge", "Bytes that those take.", "By"),
    "staleness_bound": Metric("gauge", "Seconds that a changed value can be served at most.", "s"),
}
_JOBS: Final = {
    "buffered": Metric("counter", "Jobs that waited for others."),
    "sent": Metric("counter", "Jobs that were sent together."),
    "messages": Metric("counter", "Messages that those left in."),
    "sendings": Metric("counter", "Commands that took those there."),
    "failures": Metric("counter", "Sendings that failed and were tried again."),
    "lost": Metric("counter", "Jobs that were given up."),
    "duplicates": Metric("counter", "Calls for which another job stood."),
    "opened": Metric("counter", "Envelopes that were opened."),
    "ran": Metric("counter", "Jobs that were run."),
    "failed": Metric("counter", "Jobs that were run and failed."),
}
_RESULTS: Final = {
    "stored": Metric("counter", "Results that were stored."),
    "pruned": Metric("counter", "Results that newer ones replaced."),
}
_ENDPOINT: Final = {
    "hits": Metric("counter", "Answers that were known."),
    "runs": Metric("counter", "Answers that were made."),
    "joined": Metric("counter", "Answers that another caller was having made."),
    "stale": Metric("counter", "Answers past their time."),
}

METRICS: Final[Mapping[str, Metric]] = {
    "commands_sent": Metric("counter", "Commands that were sent to Redis, by what for."),
    "commands_avoided": Metric("counter", "Commands that were not sent, by what avoided them."),
    "connections": Metric("gauge", "Connections to Redis that are open, by what for."),
    **{f"cache_{name}": metric for name, metric in _CACHE.items()},
    **{f"jobs_{name}": metric for name, metric in _JOBS.items()},
    "jobs_waiting": Metric("gauge", "Jobs that wait to be sent."),
    **{f"results_{name}": metric for name, metric in _RESULTS.items()},
    **{f"endpoint_{name}": metric for name, metric in _ENDPOINT.items()},
}
"""By name, without `PREFIX`; that of a counter goes on in ``_total`` where Prometheus reads it."""


def labels_of(facts: Mapping[str, Any]) -> Labels:
    """Return the labels that tell a process from the others of its site."""
    labels = {name: str(facts[name]) for name in ("host", "pid", "kind")}
    # Containers may have one hostname, and the same pids.
    return labels | {"process": str(facts["id"])[:8]}


def samples_of(totals: Mapping[str, Any]) -> Iterator[Sample]:
    """Return the numbers in what a process counted; other forms than ours are passed over."""
    for place in _parts(totals, "commands", "by"):
        value = number(totals, "commands", "by", place)
        yield Sample("commands_sent", {"purpose": place}, value)
    for part in _parts(totals, "commands", "avoided_by"):
        value = number(totals, "commands", "avoided_by", part)
        yield Sample("commands_avoided", {"by": part}, value)
    for place in _parts(totals, "connections", "by"):
        value = number(totals, "connections", "by", place)
        yield Sample("connections", {"purpose": place}, value)
    for alias in _parts(totals, "caches"):
        yield from _samples(totals, ("caches", alias), "cache", _CACHE, {"cache": alias})
    if _parts(totals, "jobs"):
        yield from _samples(totals, ("jobs",), "jobs", _JOBS, {})
        waiting = number(totals, "jobs", "waiting", "total_queued_jobs")
        yield Sample("jobs_waiting", {}, waiting)
    if _parts(totals, "results"):
        yield from _samples(totals, ("results",), "results", _RESULTS, {})
    for name in _parts(totals, "endpoints"):
        yield from _samples(totals, ("endpoints", name), "endpoint", _ENDPOINT, {"endpoint": name})


def number(tree: Any, *path: str) -> int | float:
    """Return a number that is somewhere inside; 0 where there is none, whatever there is."""
    for name in path:
        tree = tree.get(name) if isinstance(tree, Mapping) else None
    is_number = isinstance(tree, int | float) and not isinstance(tree, bool)
    return tree if is_number else 0


def _samples(
    totals: Mapping[str, Any],
    path: tuple[str, ...],
    prefix: str,
    metrics: Mapping[str, Metric],
    labels: Labels,
) -> Iterator[Sample]:
    for name in metrics:
        yield Sample(f"{prefix}_{name}", labels, number(totals, *path, name))


def _parts(tree: Any, *path: str) -> list[str]:
    for name in path:
        tree = tree.get(name) if isinstance(tree, Mapping) else None
    return list(tree) if isinstance(tree, Mapping) else []
