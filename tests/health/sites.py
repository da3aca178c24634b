"""Checks that count their runs, for the settings to name, and a site's settings."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from django.test import override_settings

runs: list[str] = []
"""The check of each run."""

act: list[Callable[[], Any]] = []
"""What the checks do besides; the last one counts."""


def _run(name: str) -> Any:
    runs.append(name)
    return act[-1]() if act else None


def first() -> Any:
    return _run("first")


def second() -> Any:
    return _run("second")


@contextlib.contextmanager
def site(**options: Any) -> Iterator[list[str]]:
    """Have two checks, "first" being part of ``ready/``, and yield their runs."""
    checks = [(f"{__name__}.first", {"ready": True}), f"{__name__}.second"]
    settings = {
        "HEALTH_CHECKS": checks,
        "HEALTH_TIMEOUT": 60,
        "HEALTH_CHECK_TIMEOUT": 60,
        **options,
    }
    runs.clear()
    act.clear()
    try:
        with override_settings(REDIS_OPTIMIZER=settings):
            yield runs
    finally:
        act.clear()
