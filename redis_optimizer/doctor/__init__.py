"""Look at a site and its Redis servers, and say what costs commands or endangers data.

Nothing is written and nothing is changed.
"""

from redis_optimizer.doctor.evidence import Evidence
from redis_optimizer.doctor.examine import examine
from redis_optimizer.doctor.findings import Finding, Severity
from redis_optimizer.doctor.look import look
from redis_optimizer.doctor.report import Report

__all__ = ["Evidence", "Finding", "Report", "Severity", "examine", "look"]
