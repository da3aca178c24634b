"""What the comparisons print: the machine, tables, and claims that hold or are missed."""

import json
import os
import platform
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from redis_optimizer.management.benchmark.figures import align

PACKAGES = ("django", "django-redis", "redis", "celery", "kombu", "gunicorn")


@dataclass(frozen=True)
class Claim:
    """Something that must hold.

    Args:
        text: what is compared.
        value: what was measured; None when it was not.
        limit: what it is held against.
        at_most: whether the limit is the most or the least.
        unit: of both.
    """

    text: str
    value: float | None
    limit: float
    at_most: bool = True
    unit: str = "x"

    @property
    def verdict(self) -> str:
        """Return `holds`, `missed` or `not measured`."""
        if self.value is None:
            return "not measured"
        holds = self.value <= self.limit if self.at_most else self.value >= self.limit
        return "holds" if holds else "missed"

    def as_dict(self) -> dict[str, Any]:
        """Return it for `json.dumps`."""
        return {**asdict(self), "verdict": self.verdict}

    def as_text(self) -> str:
        """Return it as a line."""
        bound = "at most" if self.at_most else "at least"
        value = "-" if self.value is None else f"{self.value:.3g} {self.unit}"
        return f"{self.verdict:<13}{self.text}: {value}, {bound} {self.limit:.3g} {self.unit}"


def ratio(value: float | None, base: float | None) -> float | None:
    """Return how many times the base a figure is; None where one is missing."""
    return None if value is None or not base else value / base


def machine() -> dict[str, Any]:
    """Return what the figures depend on."""
    return {
        "machine": platform.machine(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "load_average": [round(load, 2) for load in os.getloadavg()],
        "python": platform.python_version(),
        "packages": {name: found for name in PACKAGES if (found := installed(name))},
    }


def installed(name: str) -> str | None:
    """Return a package's version in this environment."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def show(title: str, report: Mapping[str, Any], *, as_json: bool, sections: Iterable[str]) -> None:
    """Print a report.

    Args:
        title: of what was compared.
        report: `machine`, `claims` (of `Claim.as_dict`), `absent` and the figures.
        as_json: as one JSON object instead of text.
        sections: the tables of the text.
    """
    if as_json:
        print(json.dumps(report))
        return
    seen = report["machine"]
    print(f"{title}\n")
    print(f"{seen['processor']}, {seen['cores']} cores, load {seen['load_average']}")
    packages = ", ".join(f"{name} {found}" for name, found in seen["packages"].items())
    print(f"Python {seen['python']}, {packages}\n")
    for section in sections:
        print(f"{section}\n")
    for peer, reason in report["absent"].items():
        print(f"{peer}: not installed: {reason}")
    for claim in report["claims"]:
        given = {name: value for name, value in claim.items() if name != "verdict"}
        print(Claim(**given).as_text())


def table(title: str, head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return a table; None is a dash."""
    return "\n".join([title, *align([head, *([_cell(cell) for cell in row] for row in rows)])])


def note(message: str) -> None:
    """Tell on stderr what is under way."""
    print(message, file=sys.stderr, flush=True)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:,.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
