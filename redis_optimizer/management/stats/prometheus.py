"""What was gathered in the text format of Prometheus: each process by itself, as rates need it."""

from collections.abc import Sequence
from typing import Final

from redis_optimizer.stats.gathered import Gathered
from redis_optimizer.stats.metrics import METRICS, PREFIX, Labels, Metric, labels_of, samples_of

__all__ = ["as_prometheus"]

Samples = dict[str, list[tuple[Labels, float]]]

_ALL: Final = {
    "processes": Metric("gauge", "Processes that answered."),
    "processes_silent": Metric("gauge", "Channels of processes that did not answer."),
    "gather_commands": Metric("gauge", "Commands that this report took."),
    **METRICS,
}


def as_prometheus(gathered: Gathered) -> str:
    """Return what was gathered as text that Prometheus reads."""
    samples: Samples = {}
    for process in gathered.processes:
        who = labels_of(process.facts)
        for name, labels, value in samples_of(process.totals):
            samples.setdefault(name, []).append((who | labels, value))
    samples["processes"] = [({}, len(gathered.processes))]
    samples["processes_silent"] = [({}, gathered.missing)]
    samples["gather_commands"] = [({}, gathered.commands)]
    return "".join(_family(name, metric, samples.get(name, ())) for name, metric in _ALL.items())


def _family(name: str, metric: Metric, samples: Sequence[tuple[Labels, float]]) -> str:
    if not samples:
        return ""
    full = f"{PREFIX}_{name}{'_total' if metric.kind == 'counter' else ''}"
    lines = [f"# HELP {full} {metric.text}", f"# TYPE {full} {metric.kind}"]
    lines += [f"{full}{_labels(labels)} {value}" for labels, value in samples]
    return "\n".join(lines) + "\n"


def _labels(labels: Labels) -> str:
    inner = ",".join(f'{name}="{_escape(value)}"' for name, value in labels.items())
    return f"{{{inner}}}" if inner else ""


def _escape(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
