"""What a subject of the benchmark is, and where the project's own are found."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from importlib import import_module
from typing import Any, Protocol, TextIO, cast, runtime_checkable

from django.apps import apps
from django.core.management.base import CommandError, CommandParser
from django.utils.module_loading import module_has_submodule

from redis_optimizer.management.benchmark.chart import Chart

__all__ = ["Charted", "Report", "Subject", "default_options", "project_subjects"]

MODULE = "redis_optimizer_benchmark"
"""The module of an installed app that measures something of the project's own."""


class Report(Protocol):
    """What came of a run."""

    def as_dict(self) -> dict[str, Any]:
        """Return the report for `json.dumps`."""


@runtime_checkable
class Charted(Protocol):
    """A report of which some figures are better seen."""

    def charts(self) -> Sequence[Chart]:
        """Return the charts."""


class Subject(Protocol):
    """A module that measures one thing."""

    HELP: str
    BOUNDS: dict[str, tuple[float, float]]
    """The lowest and highest value of each option that holds a number."""

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the options."""

    def run(self, options: dict[str, Any], stream: TextIO | None) -> Any:
        """Run it and return its `Report`; progress goes to the stream, if there is one."""

    def render(self, report: Any) -> str:
        """Return the report as text."""


def project_subjects(taken: Collection[str] = ()) -> dict[str, Subject]:
    """Return the subjects of installed apps, by the `NAME` in their modules.

    Args:
        taken: names that none of them may have.

    Raises:
        CommandError: a module has no `NAME`, or one that another subject has.
    """
    found: dict[str, Subject] = {}
    for config in apps.get_app_configs():
        if config.module is not None and module_has_submodule(config.module, MODULE):
            path = f"{config.name}.{MODULE}"
            module = import_module(path)
            name = getattr(module, "NAME", None)
            if not isinstance(name, str) or name in {*taken, *found}:
                raise CommandError(
                    f"{path}: set NAME to a word that no other subject of the benchmark has, not "
                    f"{name!r}."
                )
            found[name] = cast("Subject", module)
    return found


def default_options(subject: Subject) -> dict[str, Any]:
    """Return a subject's options as they are when none is given."""
    parser = CommandParser()
    subject.add_arguments(parser)
    return vars(parser.parse_args([]))
