"""Celery's soft time limit, which is an error like any other, but not of what it comes amid."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["errors_suppressed", "pass_time_limit"]


def pass_time_limit(error: BaseException) -> None:
    """Raise an error that a signal brought, for one who takes errors for those of a call.

    It comes at any line, and once: who swallows it lets the job run into its hard limit.

    Args:
        error: That was caught.

    Raises:
        billiard.exceptions.SoftTimeLimitExceeded: it is that.
    """
    module = sys.modules.get("billiard.exceptions")  # no job has one that has not loaded it
    if module is not None and isinstance(error, module.SoftTimeLimitExceeded):
        raise error


@contextmanager
def errors_suppressed() -> Iterator[None]:
    """Suppress errors of what need not be done, but for that one."""
    try:
        yield
    except Exception as error:
        pass_time_limit(error)
