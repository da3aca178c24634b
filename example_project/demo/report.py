"""Show a comparison as a table."""

from collections import Counter
from collections.abc import Callable, Iterator

from .comparison import Comparison, Run

WIDTHS = (28, 14, 18)

Column = Callable[[Run], str]


def table(comparison: Comparison) -> str:
    """Return the figures of both runs side by side."""
    both = (comparison.plain, comparison.optimized)

    def row(name: str, column: Column) -> str:
        return _row(name, *map(column, both))

    lines = [
        row("", lambda run: run.name),
        "-" * sum(WIDTHS),
        row("requests", lambda run: f"{run.requests:,}"),
        row("  of them changes", lambda run: f"{run.traffic.changes:,}"),
        row("jobs sent meanwhile", lambda run: f"{run.sent:,}"),
        *_commands("the cache's commands", [run.cache for run in both]),
        row("per request", lambda run: f"{run.cache_per_request:.3f}"),
        _row("saved", "", f"{comparison.cache_saving:.1f} %"),
        *_commands("the jobs' commands", [run.jobs for run in both]),
        row("per job", lambda run: f"{run.per_job:.3f}"),
        _row("saved", "", f"{comparison.job_saving:.1f} %"),
        row("all commands", lambda run: f"{run.commands:,}"),
        row("per request", lambda run: f"{run.per_request:.3f}"),
        _row("saved", "", f"{comparison.saving:.1f} %"),
        row("connections", lambda run: f"{run.connections:,}"),
        row("response time p50", lambda run: f"{run.latency(50):.1f} ms"),
        row("response time p99", lambda run: f"{run.latency(99):.1f} ms"),
        row("failed requests", lambda run: str(len(run.traffic.failures))),
        row("stale after own change", lambda run: str(len(run.traffic.stale))),
        row("changes in all processes", _spread),
        row("  the slowest after", lambda run: f"{1000 * run.spread.slowest:.0f} ms"),
        row("page views counted", lambda run: f"{run.work.counted:,} of {run.work.views:,}"),
        row("integrations not synced", lambda run: str(run.work.unsynced)),
        row("the worker stopped after", lambda run: f"{run.stop.seconds:.1f} s"),
        row("  messages left", lambda run: str(run.stop.left)),
        "",
        "Commands are what clients sent (MONITOR, without what scripts called) from",
        f"{_beginning(comparison.warm_up)} until the last job had run.",
    ]
    return "\n".join(lines)


def _commands(title: str, counts: list[Counter[str]]) -> Iterator[str]:
    yield _row(title, *(f"{count.total():,}" for count in counts))
    for name, _ in sum(counts, Counter()).most_common():
        yield _row(f"  {name}", *(f"{count[name]:,}" for count in counts))


def _beginning(warm_up: float) -> str:
    if not warm_up:
        return "the first visitor's arrival"
    return f"the end of a warm-up of {warm_up:g} s, of the same traffic on both sites,"


def _row(name: str, plain: str, optimized: str) -> str:
    return f"{name:<{WIDTHS[0]}}{plain:>{WIDTHS[1]}}{optimized:>{WIDTHS[2]}}"


def _spread(run: Run) -> str:
    return f"{run.spread.changes - run.spread.missed} of {run.spread.changes}"
