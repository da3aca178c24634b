"""A verdict as metrics, for Prometheus and whatever else reads its formats."""

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from redis_optimizer.health.audience import Audience
from redis_optimizer.health.findings import Verdict
from redis_optimizer.health.report import Report, Status

__all__ = ["render_openmetrics", "render_text"]

_VALUES: Final = {Status.OK: 1.0, Status.DEGRADED: 0.5, Status.FAILING: 0.0}
_ESCAPES: Final = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


class Gauge(NamedTuple):
    """A metric with its samples: pairs of labels and a value."""

    name: str
    help: str
    samples: Iterable[tuple[dict[str, str], float]]


def render_openmetrics(verdict: Verdict, audience: Audience) -> str:
    """Return the body in OpenMetrics 1.0."""
    return render_text(verdict, audience) + "# EOF\n"


def render_text(verdict: Verdict, audience: Audience) -> str:
    """Return the body in the text format of Prometheus, 0.0.4."""
    lines = []
    for gauge in _gauges(verdict.report, audience):
        lines += [f"# TYPE {gauge.name} gauge", f"# HELP {gauge.name} {gauge.help}"]
        lines += [_sample(gauge.name, labels, value) for labels, value in gauge.samples]
    return "\n".join(lines) + "\n"


def _gauges(report: Report, audience: Audience) -> Iterator[Gauge]:
    # The names tell nobody what the site runs on.
    words = "1 is ok, 0.5 degraded, 0 failing."
    yield Gauge("site_health", f"The site: {words}", [({}, _VALUES[report.status])])
    if audience is not Audience.STAFF:
        return
    yield Gauge(
        "site_health_checked_at_seconds",
        "When the checks ran, in seconds since the epoch.",
        [({}, report.checked_at)],
    )
    labels = [{"check": one.name, "component": one.component} for one in report.results]
    yield Gauge(
        "site_health_check",
        f"A check: {words}",
        zip(labels, [_VALUES[one.status] for one in report.results], strict=True),
    )
    yield Gauge(
        "site_health_check_seconds",
        "How long a check took.",
        zip(labels, [one.seconds for one in report.results], strict=True),
    )
    yield Gauge(
        "site_health_observed",
        "What a check has seen.",
        [
            ({"check": one.name, "name": name, "unit": seen.unit}, seen.value)
            for one in report.results
            for name, seen in one.observed.items()
            if not isinstance(seen.value, str)
        ],
    )


def _sample(name: str, labels: dict[str, str], value: float) -> str:
    inside = ",".join(f'{label}="{text.translate(_ESCAPES)}"' for label, text in labels.items())
    number = +value  # which makes True a 1
    return f"{name}{{{inside}}} {number}" if inside else f"{name} {number}"
