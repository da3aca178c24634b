"""Run the checks of django-watchman as checks of ours."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Final

from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from redis_optimizer.health.base import Check

__all__ = ["Failed", "WatchmanCheck"]

PACKAGE: Final = "django-watchman: pip install django-watchman"


class Failed(Exception):
    """A check of django-watchman found something that does not work."""


@dataclass(frozen=True, kw_only=True)
class WatchmanCheck(Check):
    """A check of django-watchman: a function that returns what it found as a dict.

    ::

        REDIS_OPTIMIZER = {"HEALTH_CHECKS": [
            ("redis_optimizer.contrib.watchman.WatchmanCheck",
             {"check": "watchman.checks.storage"}),
        ]}

    Args:
        check: Dotted path of the function.
        label: Its name in the report; None: ``watchman-`` and the name of the function.

    Raises:
        ImproperlyConfigured: when it cannot be imported or called.
    """

    check: str
    label: str | None = None

    def __post_init__(self) -> None:
        try:
            found = import_string(self.check)
        except ImportError as error:
            needs = "" if find_spec("watchman") else f" It needs {PACKAGE}."
            raise ImproperlyConfigured(
                f"{self.check} cannot be imported: {error}.{needs}"
            ) from error
        if not callable(found):
            raise ImproperlyConfigured(f"{self.check} is no function.")

    @property
    def name(self) -> str:
        """The label, or one made of the name of the function."""
        if self.label is not None:
            return self.label
        return "watchman-" + re.sub(r"_+", "-", self.check.rpartition(".")[2].strip("_"))

    def run(self) -> None:
        """Call it.

        Raises:
            Failed: when it says so; names what does not work.
            TypeError: when it returns something else than django-watchman's checks do.
        """
        found = import_string(self.check)()
        try:
            parts = list(_parts(found, ()))
        except TypeError as error:
            raise TypeError(f"{self.check} returned {found!r}: no answer of a check.") from error
        failed = [f"{where}: {error}" for where, error in parts if error is not None]
        if failed:
            raise Failed("; ".join(failed))


def _parts(found: Any, path: tuple[str, ...]) -> Iterator[tuple[str, str | None]]:
    """Yield each thing that was looked at, and what is wrong with it or None."""
    if isinstance(found, list | tuple):
        for item in found:
            yield from _parts(item, path)
    elif isinstance(found, dict) and "ok" in found:
        error = None if found["ok"] else str(found.get("error") or "not ok")
        yield ".".join(path) or "check", error
    elif isinstance(found, dict):
        for key, value in found.items():
            yield from _parts(value, (*path, str(key)))
    else:
        raise TypeError(type(found).__name__)
