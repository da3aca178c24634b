"""Health checks, and the verdict that they make together."""

from redis_optimizer.health.base import Check, Degraded
from redis_optimizer.health.findings import Verdict
from redis_optimizer.health.registry import health_check
from redis_optimizer.health.report import Observation, Report, Result, Status
from redis_optimizer.health.verdict import (
    aget_verdict,
    arefresh_verdict,
    begin_verdict,
    drop_verdicts,
    get_verdict,
    peek_verdict,
    refresh_verdict,
)

__all__ = [
    "Check",
    "Degraded",
    "Observation",
    "Report",
    "Result",
    "Status",
    "Verdict",
    "aget_verdict",
    "arefresh_verdict",
    "begin_verdict",
    "drop_verdicts",
    "get_verdict",
    "health_check",
    "peek_verdict",
    "refresh_verdict",
]
