"""Show a comparison as a table."""

from .comparison import Comparison, Run

WIDTHS = (28, 20, 14)


def table(comparison: Comparison) -> str:
    """Return the figures of both runs side by side."""
    plain, tiered = comparison.plain, comparison.tiered
    both = (plain, tiered)
    lines = [_row("", plain.name, tiered.name), "-" * sum(WIDTHS)]
    lines.append(_row("requests", *(f"{run.requests:,}" for run in both)))
    lines.append(_row("  of them changes", *(f"{run.traffic.changes:,}" for run in both)))
    lines.append(_row("commands", *(f"{run.commands.total():,}" for run in both)))
    for name, _ in (plain.commands + tiered.commands).most_common():
        lines.append(_row(f"  {name}", *(f"{run.commands[name]:,}" for run in both)))
    lines.append(_row("commands per request", *(f"{run.per_request:.3f}" for run in both)))
    lines.append(_row("saved", "", f"{comparison.saving:.1f} %"))
    lines.append(_row("response time p50", *(f"{run.latency(50):.1f} ms" for run in both)))
    lines.append(_row("response time p99", *(f"{run.latency(99):.1f} ms" for run in both)))
    lines.append(_row("failed requests", *(str(len(run.traffic.failures)) for run in both)))
    lines.append(_row("stale after own change", *(str(len(run.traffic.stale)) for run in both)))
    lines.append(_row("changes in all processes", *(_spread(run) for run in both)))
    lines.append(_row("  the slowest after", *(_slowest(run) for run in both)))
    lines.append("")
    lines.append("Commands are the server's own count (INFO commandstats) from the first visitor's")
    lines.append("arrival on. It includes commands that run inside Lua and MULTI.")
    return "\n".join(lines)


def _row(name: str, plain: str, tiered: str) -> str:
    return f"{name:<{WIDTHS[0]}}{plain:>{WIDTHS[1]}}{tiered:>{WIDTHS[2]}}"


def _spread(run: Run) -> str:
    return f"{run.spread.changes - run.spread.missed} of {run.spread.changes}"


def _slowest(run: Run) -> str:
    return f"{1000 * run.spread.slowest:.0f} ms"
