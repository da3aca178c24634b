"""A report as plain data, and back; what comes from elsewhere is believed when it looks right."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from redis_optimizer.health.report import Observation, Report, Result, Status

__all__ = ["pack", "unpack"]


def pack(report: Report) -> dict[str, Any]:
    """Return a report as dicts, lists, strings and numbers."""
    return {
        "seconds": report.seconds,
        "checked_at": report.checked_at,
        "results": [
            {
                "name": result.name,
                "component": result.component,
                "status": str(result.status),
                "seconds": result.seconds,
                "checked_at": result.checked_at,
                "observed": {name: list(seen) for name, seen in result.observed.items()},
                "error": result.error,
            }
            for result in report.results
        ],
    }


def unpack(value: object, names: Sequence[str]) -> Report | None:
    """Return the report that `pack` made a value of; None when it did not.

    Args:
        value: Anything.
        names: Of the checks that it must be about, sorted.
    """
    try:
        report = _report(value)
    except Exception:  # however wrong it is
        return None
    is_ours = sorted(result.name for result in report.results) == list(names)
    return report if is_ours else None


def _report(value: Any) -> Report:
    results = [_result(each) for each in _sequence(value["results"])]
    return Report(results, _number(value["seconds"]), _number(value["checked_at"]))


def _result(value: Any) -> Result:
    return Result(
        name=_text(value["name"]),
        component=_text(value["component"]),
        status=Status(value["status"]),
        seconds=_number(value["seconds"]),
        checked_at=_number(value["checked_at"]),
        observed={_text(n): _observation(seen) for n, seen in _mapping(value["observed"]).items()},
        error=_text(value["error"]),
    )


def _observation(value: Any) -> Observation:
    seen, unit = _sequence(value)
    return Observation(seen if isinstance(seen, str) else _number(seen), _text(unit))


def _number(value: object) -> float:
    if not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _sequence(value: object) -> Sequence[Any]:
    if not isinstance(value, list | tuple):
        raise TypeError
    return value


def _mapping(value: object) -> Mapping[Any, Any]:
    if not isinstance(value, Mapping):
        raise TypeError
    return value
