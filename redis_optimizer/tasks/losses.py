"""Tell of jobs that are given up."""

import logging
from collections.abc import Collection, Mapping

from redis_optimizer.signals import jobs_lost

__all__ = ["report"]

logger = logging.getLogger("redis_optimizer.tasks")


def report(tasks: Mapping[str, str], *, reason: str, unknown: Collection[str] = ()) -> None:
    """Log each job that is lost, at CRITICAL, and send `jobs_lost`.

    Args:
        tasks: The name of the task of each job, by the job's id.
        reason: A sentence.
        unknown: Ids of those that may have been sent all the same.
    """
    for id, task in tasks.items():
        outcome = "may be lost: it is not known to be sent" if id in unknown else "is lost"
        logger.critical("Job %s[%s] %s. %s", task, id, outcome, reason)
    if tasks:
        # Robust: who hears of it must not stop what goes on after it.
        jobs_lost.send_robust(sender=report, ids=list(tasks), tasks=list(tasks.values()))
