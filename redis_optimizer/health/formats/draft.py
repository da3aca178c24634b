"""A verdict as the IETF's draft has it: draft-inadarei-api-health-check-06."""

import json
from typing import Any, Final

from django.core.serializers.json import DjangoJSONEncoder

from redis_optimizer.health.audience import Audience
from redis_optimizer.health.findings import Verdict
from redis_optimizer.health.formats.times import milliseconds, timestamp
from redis_optimizer.health.report import Observation, Report, Result, Status

__all__ = ["MEDIA_TYPE", "render"]

MEDIA_TYPE: Final = "application/health+json"

_WORDS: Final = {Status.OK: "pass", Status.DEGRADED: "warn", Status.FAILING: "fail"}
_RESPONSE_TIME: Final = "responseTime"  # the draft's own name for it


def render(verdict: Verdict, audience: Audience) -> str:
    """Return the body for an audience."""
    body: dict[str, Any] = {"status": _WORDS[verdict.report.status]}
    if audience is Audience.STAFF:
        body["checks"] = _measurements(verdict.report)
    return json.dumps(body, cls=DjangoJSONEncoder)


def _measurements(report: Report) -> dict[str, list[dict[str, Any]]]:
    """Return what was measured, under ``component:measurement``."""
    measured = {}
    for result in report.results:
        taken = Observation(milliseconds(result.seconds), "ms")
        for name, seen in {_RESPONSE_TIME: taken, **result.observed}.items():
            measured[f"{result.name}:{name}"] = [_measurement(result, seen)]
    return measured


def _measurement(result: Result, seen: Observation) -> dict[str, Any]:
    measurement = {
        "componentType": result.component,
        "observedValue": seen.value,
        "status": _WORDS[result.status],
        "time": timestamp(result.checked_at),
    }
    if seen.unit:
        measurement["observedUnit"] = seen.unit
    if result.error:
        measurement["output"] = result.error
    return measurement
