"""A verdict in JSON: one word for everybody, every check for staff."""

import json
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder

from redis_optimizer.health.audience import Audience
from redis_optimizer.health.findings import Verdict
from redis_optimizer.health.formats.times import milliseconds, timestamp
from redis_optimizer.health.report import Result

__all__ = ["render"]


def render(verdict: Verdict, audience: Audience) -> str:
    """Return the body for an audience."""
    report = verdict.report
    body: dict[str, Any] = {
        "status": report.status,
        "cached": verdict.is_cached,
        "age": round(verdict.age, 1),
    }
    if audience is Audience.STAFF:
        body["checked_at"] = timestamp(report.checked_at)
        body["response_time_ms"] = milliseconds(report.seconds)
        body["checks"] = [_describe(result) for result in report.results]
    return json.dumps(body, cls=DjangoJSONEncoder)


def _describe(result: Result) -> dict[str, Any]:
    return {
        "name": result.name,
        "component": result.component,
        "status": result.status,
        "response_time_ms": milliseconds(result.seconds),
        "observed": {
            name: {"value": seen.value, "unit": seen.unit} for name, seen in result.observed.items()
        },
        "checked_at": timestamp(result.checked_at),
        "error": result.error,
    }
