"""Run the examinations, and make one report of what they find."""

import logging
from collections.abc import Collection, Iterable
from importlib import import_module
from typing import Final

from redis_optimizer.doctor.evidence import Evidence, Unknown, explain
from redis_optimizer.doctor.findings import Examination, Finding
from redis_optimizer.doctor.report import Report

__all__ = ["examinations", "examine"]

logger = logging.getLogger("redis_optimizer.doctor")

MODULES: Final = (
    "redis_optimizer.doctor.servers",
    "redis_optimizer.doctor.caches",
    "redis_optimizer.doctor.tiers",
    "redis_optimizer.doctor.links",
    "redis_optimizer.doctor.site",
    "redis_optimizer.doctor.trust",
    "redis_optimizer.doctor.celery.chatter",
    "redis_optimizer.doctor.celery.workers",
    "redis_optimizer.doctor.celery.transport",
    "redis_optimizer.doctor.celery.results",
)
"""Each has `EXAMINATIONS`. None imports Celery when it is imported itself."""


def examinations() -> tuple[Examination, ...]:
    """Return all examinations there are."""
    return tuple(each for name in MODULES for each in import_module(name).EXAMINATIONS)


def examine(
    evidence: Evidence,
    *,
    only: Collection[str] = (),
    skip: Collection[str] = (),
    through: Iterable[Examination] | None = None,
) -> Report:
    """Say what is found in the evidence.

    Args:
        evidence: See `redis_optimizer.doctor.look`.
        only: The ids of what to look for; empty: everything.
        skip: The ids of what not to look for.
        through: The examinations; all that there are unless given.
    """
    findings: list[Finding] = []
    unknown = list(evidence.unknown)
    for each in examinations() if through is None else through:
        if each.id in skip or (only and each.id not in only):
            continue
        try:
            findings.extend(each.findings(evidence))
        except Unknown as reason:
            unknown.append(str(reason))
        except Exception as error:  # one that is broken must not hide what the others find
            logger.debug("The examination %s failed", each.id, exc_info=True)
            unknown.append(f"{each.id}: {explain(error)}")
    return Report(
        findings=tuple(sorted(findings, key=_place)),
        unknown=tuple(dict.fromkeys(unknown)),
        looked_at=evidence.looked_at,
        seconds=evidence.seconds,
        commands=evidence.commands,
    )


def _place(finding: Finding) -> tuple[bool, float, int, str]:
    # What may lose data comes first, whatever it costs. Of the rest, what saves most: that is what
    # somebody asks the doctor for; a warning that saves nothing is a matter of another day.
    ranks = list(type(finding.severity))
    saves = finding.saves or 0.0
    return finding.severity != ranks[0], -saves, ranks.index(finding.severity), finding.id
