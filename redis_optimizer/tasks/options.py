"""Check a task's options when it is declared."""

from collections.abc import Mapping
from math import inf
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from redis_optimizer.conf import MOST, MOST_AWAITED, show

__all__ = ["check_options"]


def check_options(name: str, options: Mapping[str, Any]) -> None:
    """Check the options that a task gives itself.

    Args:
        name: Of the task, for the message.
        options: The attributes of its class.

    Raises:
        ImproperlyConfigured: for a value that is wrong; the message names the task and the option.
    """
    for option in ("batch_size",):
        _whole(name, options, option, least=1)
    for option in ("keep_succeeded", "keep_failed"):
        _whole(name, options, option, least=0)
    for option in ("batch_timeout", "batch_delay"):
        _seconds(name, options, option)
    for option in ("flush_on_response", "bulk", "idempotent"):
        if not isinstance(options.get(option, False), bool):
            raise _wrong(name, option, "must be True or False", options[option])


def _whole(name: str, options: Mapping[str, Any], option: str, *, least: int) -> None:
    value = options.get(option)
    if value is not None and (
        isinstance(value, bool) or not isinstance(value, int) or not least <= value <= MOST
    ):
        raise _wrong(name, option, f"must be a whole number from {least} to {MOST:,}", value)


def _seconds(name: str, options: Mapping[str, Any], option: str) -> None:
    value = options.get(option)
    if value is not None and (
        isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < inf
    ):
        raise _wrong(name, option, "must be a number of seconds, 0 or more", value)
    if value is not None and value > MOST_AWAITED:
        raise _wrong(name, option, f"must be a number of seconds, {MOST_AWAITED:,} or less", value)


def _wrong(name: str, option: str, must: str, value: object) -> ImproperlyConfigured:
    return ImproperlyConfigured(f"Task {name}: {option} {must}, not {show(value)}.")
