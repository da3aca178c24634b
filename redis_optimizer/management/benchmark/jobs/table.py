"""The report as text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from redis_optimizer.management.benchmark.jobs.report import (
    DUPLICATES,
    PRODUCER_ALONE,
    Figures,
    Report,
)
from redis_optimizer.management.benchmark.jobs.site import OURS, PLAIN
from redis_optimizer.management.benchmark.jobs.traffic import Sent


class Row(NamedTuple):
    """One line of the table."""

    title: str
    plain: str = ""
    ours: str = ""
    remark: str = ""


def render(report: Report) -> str:
    """Return the report as text."""
    setting, versions = report.setting, report.setting["versions"]
    lines = [
        f"{setting['jobs']:,} jobs in batches of {setting['batch_size']:,};"
        f" a worker with {setting['concurrency']} children; {setting['server']},"
        f" Celery {versions['celery']}, kombu {versions['kombu']}, Python {setting['python']}",
        "Commands are what clients sent: MONITOR without what scripts called.",
        "",
        *_align([Row("", PLAIN.name, OURS.name), *_rows(report)]),
    ]
    if report.ours.sent:
        lines += ["", "by command, per job:", *_by_command(report)]
        lines += ["", "start-up, not counted above:", *_start_up(report)]
    return "\n".join(lines)


def _rows(report: Report) -> Iterator[Row]:
    plain, ours = report.plain, report.ours
    titles = list(ours.sent)
    if titles:
        yield Row("commands per job")
    for title in titles:
        pair = [_commands(title, side.sent[title]) for side in (plain, ours)]
        yield Row(f"  {title}", f"{pair[0]:,.2f}", f"{pair[1]:,.3f}")
    through = [title for title in titles if title not in PRODUCER_ALONE]
    if through:
        yield Row("round trips per job")
    for title in through:
        pair = [side.sent[title].round_trips / side.sent[title].jobs for side in (plain, ours)]
        yield Row(f"  {title}", f"{pair[0]:,.2f}", f"{pair[1]:,.3f}")
    for title in (title for title in titles if title in DUPLICATES):
        yield Row(f"queued: {title}", *(f"{side.sent[title].queued:,}" for side in (plain, ours)))
    yield from _rates(report, through)
    yield from _states(report)
    yield from _idle(report)
    if through:
        yield Row("jobs that did not run", *(_total(side, "missing") for side in (plain, ours)))
        yield Row("runs too many", *(_total(side, "twice") for side in (plain, ours)))


def _rates(report: Report, titles: Sequence[str]) -> Iterator[Row]:
    for place, heading in enumerate(("jobs sent per second", "jobs run per second")):
        lines = []
        for title in titles:
            plain, ours = report.plain.sent[title].rates, report.ours.sent[title].rates
            if plain and ours:
                times = f"{ours[place] / plain[place]:,.1f} times"
                lines.append(
                    Row(f"  {title}", f"{plain[place]:,.0f}", f"{ours[place]:,.0f}", times)
                )
        if lines:
            yield Row(heading)
            yield from lines


def _states(report: Report) -> Iterator[Row]:
    plain, ours, setting = report.plain, report.ours, report.setting
    if ours.results is not None:
        title = f"results stored after {setting['runs']:,} runs"
        yield Row(title, f"{plain.results:,}", f"{ours.results:,}")
    if ours.web is not None:
        title = f"connections of a web process with {setting['threads']} threads"
        yield Row(title, f"{plain.web}", f"{ours.web}")
    if plain.stop and ours.stop:
        both = (plain.stop, ours.stop)
        yield Row(f"SIGTERM amid {setting['batch_size']:,} jobs of 1 s")
        yield Row("  until it has ended", *(f"{stop.seconds:.1f} s" for stop in both))
        yield Row("  messages left unacknowledged", *(f"{stop.unacknowledged}" for stop in both))
        yield Row("  jobs that did not run", *(f"{stop.missing}" for stop in both))
        yield Row("  runs too many", *(f"{stop.twice}" for stop in both))


def _idle(report: Report) -> Iterator[Row]:
    sides = iter(report.idle.items())
    _, plain = next(sides, ("", None))
    for name, ours in sides:
        if plain is not None:
            both = (plain, ours)
            yield Row(f"idle worker, {name}, for {ours.seconds:,.0f} s")
            yield Row("  commands per minute", *(f"{idle.per_minute:.1f}" for idle in both))
            yield Row("  connections", *(f"{idle.connections}" for idle in both))
            yield Row("  SIGTERM until it has ended", *(f"{idle.stopped:.1f} s" for idle in both))
            yield Row("  commands at its start", *(f"{idle.start_up.total()}" for idle in both))


def _commands(title: str, sent: Sent) -> float:
    return sent.producer.total() / sent.jobs if title in PRODUCER_ALONE else sent.per_job


def _total(figures: Figures, attribute: str) -> str:
    # The same run may stand under several titles.
    distinct = {id(sent): getattr(sent, attribute) for sent in figures.sent.values()}
    return f"{sum(distinct.values()):,}"


def _by_command(report: Report) -> Iterator[str]:
    for title, ours in report.ours.sent.items():
        for name, sent in ((PLAIN.name, report.plain.sent[title]), (OURS.name, ours)):
            yield f"  {title}, {name}"
            yield f"    producer: {_listing(sent.producer, sent.jobs)}"
            if title not in PRODUCER_ALONE:
                yield f"    worker: {_listing(sent.worker, sent.jobs)}"
            if sent.other:
                yield f"    either: {_listing(sent.other, sent.jobs)}"


def _start_up(report: Report) -> Iterator[str]:
    for name, side in ((PLAIN.name, report.plain), (OURS.name, report.ours)):
        yield f"  {name}, worker: {_counts(side.start_up)}"
        title, sent = next(iter(side.sent.items()))
        yield f"  {name}, producer ({title}): {_counts(sent.start_up)}"


def _listing(commands: Counter[str], jobs: int) -> str:
    return ", ".join(f"{name} {n / jobs:,.3f}" for name, n in commands.most_common()) or "none"


def _counts(commands: Counter[str]) -> str:
    listing = ", ".join(f"{name} {n:,}" for name, n in commands.most_common())
    return f"{commands.total():,}" + (f" ({listing})" if listing else "")


def _align(rows: Sequence[Row]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    return [
        "  ".join((row[0].ljust(widths[0]), *(row[n].rjust(widths[n]) for n in (1, 2, 3)))).rstrip()
        for row in rows
    ]
