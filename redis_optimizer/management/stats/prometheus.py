"""What was gathered in the text format of Prometheus: each process by itself, as rates need it."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from redis_optimizer.management.stats.columns import number
from redis_optimizer.stats.gathered import Gathered, Process

__all__ = ["as_prometheus"]

PREFIX: Final = "redis_optimizer"

Labels = dict[str, str]
Samples = dict[str, list[tuple[Labels, float]]]

_CACHE: Final = {
    "hits": ("counter", "Reads that were answered in the process."),
    "misses": ("counter", "Reads that went to Redis."),
    "commands_avoided": ("counter", "Commands that were not sent."),
    "fills": ("counter", "Values that were kept."),
    "invalidations": ("counter", "Values that were dropped because they were written elsewhere."),
    "evictions": ("counter", "Values that were dropped to make room."),
    "loads_shared": ("counter", "Callers that waited for the load of another."),
    "entries": ("gauge", "Entries that are kept."),
    "bytes": ("gauge", "Bytes that those take."),
    "staleness_bound": ("gauge", "Seconds that a changed value can be served at most."),
}
_JOBS: Final = {
    "buffered": ("counter", "Jobs that waited for others."),
    "sent": ("counter", "Jobs that were sent together."),
    "messages": ("counter", "Messages that those left in."),
    "sendings": ("counter", "Commands that took those there."),
    "duplicates": ("counter", "Calls for which another job stood."),
}
_ENDPOINT: Final = {
    "hits": ("counter", "Answers that were known."),
    "runs": ("counter", "Answers that were made."),
    "joined": ("counter", "Answers that another caller was having made."),
    "stale": ("counter", "Answers past their time."),
}


def as_prometheus(gathered: Gathered) -> str:
    """Return what was gathered as text that Prometheus reads."""
    samples: Samples = {}
    for process in gathered.processes:
        for metric, labels, value in _of(process):
            samples.setdefault(metric, []).append((labels, value))
    samples["processes"] = [({}, len(gathered.processes))]
    samples["processes_silent"] = [({}, gathered.missing)]
    samples["gather_commands"] = [({}, gathered.commands)]
    return "".join(
        _family(name, kind, text, samples.get(name, ())) for name, (kind, text) in _ALL.items()
    )


_ALL: Final = {
    "processes": ("gauge", "Processes that answered."),
    "processes_silent": ("gauge", "Channels of processes that did not answer."),
    "gather_commands": ("gauge", "Commands that this report took."),
    **{f"cache_{name}": told for name, told in _CACHE.items()},
    **{f"jobs_{name}": told for name, told in _JOBS.items()},
    "jobs_waiting": ("gauge", "Jobs that wait to be sent."),
    **{f"endpoint_{name}": told for name, told in _ENDPOINT.items()},
}


def _of(process: Process) -> Iterator[tuple[str, Labels, float]]:
    who = {name: str(process.facts[name]) for name in ("host", "pid", "kind")}
    # Containers may have one hostname, and the same pids.
    who["process"] = str(process.facts["id"])[:8]
    totals = process.totals
    for alias in _names(totals, "caches"):
        for name in _CACHE:
            value = number(totals, "caches", alias, name)
            yield f"cache_{name}", who | {"cache": alias}, value
    for name in _JOBS if totals.get("jobs") else ():
        yield f"jobs_{name}", who, number(totals, "jobs", name)
    if totals.get("jobs"):
        yield "jobs_waiting", who, number(totals, "jobs", "waiting", "total_queued_jobs")
    for endpoint in _names(totals, "endpoints"):
        for name in _ENDPOINT:
            value = number(totals, "endpoints", endpoint, name)
            yield f"endpoint_{name}", who | {"endpoint": endpoint}, value


def _names(totals: Mapping[str, Any], part: str) -> list[str]:
    found = totals.get(part)
    return list(found) if isinstance(found, Mapping) else []


def _family(name: str, kind: str, text: str, samples: Any) -> str:
    if not samples:
        return ""
    full = f"{PREFIX}_{name}{'_total' if kind == 'counter' else ''}"
    lines = [f"# HELP {full} {text}", f"# TYPE {full} {kind}"]
    lines += [f"{full}{_labels(labels)} {value}" for labels, value in samples]
    return "\n".join(lines) + "\n"


def _labels(labels: Labels) -> str:
    inner = ",".join(f'{name}="{_escape(value)}"' for name, value in labels.items())
    return f"{{{inner}}}" if inner else ""


def _escape(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
