"""The headers of a job that Celery takes on trust in a worker's main process.

One that is not as Celery makes it raises there, and ends the worker; with its message back in the
queue the next one ends, too. Jobs of envelopes are looked at before that.
"""

from collections.abc import Callable, Mapping
from math import inf
from types import MappingProxyType
from typing import Any, Final

__all__ = ["is_sound"]


def is_sound(name: str, value: Any) -> bool:
    """Tell whether a header is as Celery makes it, or is none of Celery's."""
    check = _CHECKS.get(name)
    return value is None or check is None or check(value)


def _is_text(value: Any) -> bool:
    return type(value) is str


def _are_texts(value: Any) -> bool:
    return type(value) is list and all(map(_is_text, value))


def _are_limits(value: Any) -> bool:
    return type(value) is list and len(value) == 2 and all(map(_is_limit, value))


def _is_limit(value: Any) -> bool:
    return value is None or (type(value) in (int, float) and 0 <= value < inf)


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


_CHECKS: Final[Mapping[str, Callable[[Any], bool]]] = MappingProxyType(
    {
        "task": _is_text,
        "eta": _is_text,
        "expires": _is_text,
        "root_id": _is_text,
        "parent_id": _is_text,
        "group": _is_text,
        "shadow": _is_text,
        "argsrepr": _is_text,
        "kwargsrepr": _is_text,
        "compression": _is_text,
        "redis_optimizer_dedup": _is_text,
        "stamped_headers": _are_texts,
        "stamps": lambda value: type(value) is dict,
        "timelimit": _are_limits,
        "retries": _is_count,
        "group_index": _is_count,
        "replaced_task_nesting": _is_count,
    }
)
