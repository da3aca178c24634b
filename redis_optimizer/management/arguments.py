"""What several commands ask of their options."""

from typing import Any, Final

from django.core.management.base import CommandError

__all__ = ["check_seconds"]

LONGEST: Final = 86_400
"""Seconds: a day. Many times as much is more than a socket or a clock takes."""


def check_seconds(options: dict[str, Any], *names: str) -> None:
    """Refuse what is no time to wait.

    Args:
        options: Of the command.
        names: Those that are seconds, or None.

    Raises:
        CommandError: one is not more than 0, or is longer than a day; its returncode is 2.
    """
    for name in names:
        if options[name] is not None and not 0 < options[name] <= LONGEST:
            raise CommandError(
                f"--{name} takes a number of seconds, more than 0 and at most {LONGEST:,}.",
                returncode=2,
            )
