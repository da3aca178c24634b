"""Which workers do not do what the site asks of them."""

from collections.abc import Iterator
from typing import Any, Final

from redis_optimizer.doctor.celery.measures import (
    BATCHED,
    PLAIN,
    count_workers,
    gain,
    jobs_of,
    join_names,
    taken,
    waiting,
)
from redis_optimizer.doctor.evidence import Evidence
from redis_optimizer.doctor.findings import (
    Examination,
    Found,
    Severity,
    examination,
)

__all__ = ["EXAMINATIONS"]


@examination(
    "closed-envelopes",
    Severity.WARNING,
    "Jobs in batches travel in envelopes, which only a worker with redis_optimizer among its apps "
    "opens. One without it leaves them to the others; where there is no other, each job is sent "
    "and acknowledged singly.",
)
def closed_envelopes(evidence: Evidence) -> Iterator[Found]:
    jobs = jobs_of(evidence)
    if jobs is None or jobs.broker.equipped is None:
        return
    from redis_optimizer.conf import get_settings

    batched = _batched(jobs.app)
    if not batched or not get_settings().ENABLED:
        return
    workers, equipped = waiting(jobs), jobs.broker.equipped
    if workers <= equipped:
        return
    saves, arithmetic = gain(evidence, taken(jobs.server), "messages", PLAIN - BATCHED)
    if equipped:  # some do, so nobody can tell how many jobs would go another way
        saves, arithmetic = None, ""
    yield Found(
        what=f"{workers - equipped} of {count_workers(workers)} at {jobs.server.address} do not "
        f"open envelopes; {join_names(batched)} may send them.",
        change='Add "redis_optimizer" to INSTALLED_APPS of those workers and restart them.',
        saves=saves,
        at_most=True,
        arithmetic=arithmetic,
    )


def _batched(app: Any) -> list[str]:
    from redis_optimizer.tasks.base import OptimizedTask
    from redis_optimizer.tasks.batching import terms_of

    return sorted(
        task.name
        for task in app.tasks.values()
        if isinstance(task, OptimizedTask) and terms_of(task).size > 1
    )


EXAMINATIONS: Final[tuple[Examination, ...]] = (closed_envelopes,)
