"""What is wrong with how jobs go through the broker."""

from collections.abc import Iterator
from typing import Any, Final

from redis_optimizer.doctor.celery.measures import (
    BATCHED,
    SINGLE,
    gain,
    is_on_redis,
    jobs_of,
    option,
    own_tasks,
    taken,
)
from redis_optimizer.doctor.evidence import Evidence
from redis_optimizer.doctor.findings import (
    Examination,
    Found,
    Severity,
    examination,
)

__all__ = ["EXAMINATIONS"]

UNPOOLED: Final = 19
"""Commands that a call takes on top of its LPUSH without a pool of connections: it connects twice,
and declares its queue anew."""

UNPOOLED_CONNECTIONS: Final = 2
SETINFO: Final = 2  # CLIENT SETINFO that redis-py sends as it connects

MANY_JOBS: Final = 1.0
"""Jobs a second; fewer are not worth a change of code."""


@examination(
    "broker-pool",
    Severity.WARNING,
    "Without a pool of connections every call connects to the broker anew, and declares its queue.",
)
def broker_pool(evidence: Evidence) -> Iterator[Found]:
    app = evidence.app
    if not is_on_redis(app) or app.conf.broker_pool_limit:
        return
    jobs = jobs_of(evidence)
    calls = None
    if jobs is not None:
        connects = max(jobs.server.rate("hello"), jobs.server.rate("client|setinfo") / SETINFO)
        calls = min(jobs.server.rate("lpush"), connects / UNPOOLED_CONNECTIONS)
    saves, arithmetic = gain(evidence, calls, "calls that connect twice", UNPOOLED)
    yield Found(
        what=f"CELERY_BROKER_POOL_LIMIT is {app.conf.broker_pool_limit!r}.",
        change="CELERY_BROKER_POOL_LIMIT = 3; celery_settings() sets it.",
        saves=saves,
        at_most=True,
        arithmetic=arithmetic,
    )


@examination(
    "broker-retries",
    Severity.WARNING,
    "redis-py sends what it repeats once more though the server may have got it: a job runs twice. "
    "kombu then also gives up sending many jobs by one command. System check W020 says so, too.",
)
def broker_retries(evidence: Evidence) -> Iterator[Found]:
    app = evidence.app
    if not is_on_redis(app):
        return
    from redis_optimizer.connections.jobs import REFUSED

    given = [name for name in REFUSED if option(app, name)]
    if given:
        yield Found(
            what=f"CELERY_BROKER_TRANSPORT_OPTIONS has {', '.join(given)}.",
            change="Leave it out. Celery retries by itself: see CELERY_TASK_PUBLISH_RETRY_POLICY.",
        )


@examination(
    "single-jobs",
    Severity.INFO,
    "A job that travels alone takes four commands, and ten where a worker without redis_optimizer "
    "takes it; one that travels with a hundred others, a twenty-fifth of one.",
)
def single_jobs(evidence: Evidence) -> Iterator[Found]:
    jobs = jobs_of(evidence)
    if jobs is None:
        return
    rate = taken(jobs.server) - sum(evidence.growth("jobs", "envelopes"))
    if rate < MANY_JOBS:
        return
    saves, arithmetic = gain(evidence, rate, "jobs that travelled alone", SINGLE - BATCHED)
    yield Found(
        what=f"Workers took {rate:,.1f} jobs a second at {jobs.server.address} one by one.",
        change="@shared_task(base=OptimizedTask, batch_size=100, acks_late=True) for the tasks of "
        "which there are many",
        saves=saves,
        at_most=True,
        arithmetic=arithmetic,
    )


@examination(
    "visibility-timeout",
    Severity.ERROR,
    "What a worker has held for longer than the visibility timeout is delivered to another one, "
    "too: the job runs twice, or more often.",
)
def visibility(evidence: Evidence) -> Iterator[Found]:
    app = evidence.app
    if not is_on_redis(app):
        return
    from redis_optimizer.tasks.kombu.producers import visibility_timeout

    timeout = visibility_timeout(app)
    waits = [*_waits(app), *_due(evidence)]
    longest = max(waits, key=lambda wait: wait[0], default=(0.0, ""))
    if longest[0] > timeout:
        yield _too_short(timeout, *longest)
    # A batch begins as its jobs' turn comes: half of the timeout is left for that.
    batch = max(_batches(app), key=lambda wait: wait[0], default=(0.0, ""))
    if batch[0] > timeout / 2:
        yield _too_short(timeout, 2 * batch[0], batch[1])


def _too_short(timeout: float, wait: float, whose: str) -> Found:
    return Found(
        what=f"The visibility timeout is {timeout:,.0f} s; {whose}.",
        change='CELERY_BROKER_TRANSPORT_OPTIONS = {"visibility_timeout": '
        f"{_rounded(wait)}}}, in all processes",
    )


def _due(evidence: Evidence) -> Iterator[tuple[float, str]]:
    for each in evidence.broker.due if evidence.broker else ():
        yield each.wait, f"a job of {each.task} is due {each.wait:,.0f} s after a worker took it"


def _waits(app: Any) -> Iterator[tuple[float, str]]:
    from celery import Task

    for name, entry in dict(app.conf.beat_schedule or {}).items():
        options = entry.get("options") if isinstance(entry, dict) else None
        countdown = (options or {}).get("countdown")
        if isinstance(countdown, int | float):
            yield float(countdown), f"{name!r} in the schedule has a countdown of {countdown:,} s"
    for task in own_tasks(app):
        delay = task.default_retry_delay
        # What is Celery's own default says nothing: most tasks are never retried.
        if isinstance(delay, int | float) and delay != Task.default_retry_delay:
            yield float(delay), f"{task.name} is retried after {delay:,} s"


def _batches(app: Any) -> Iterator[tuple[float, str]]:
    from redis_optimizer.tasks.base import OptimizedTask
    from redis_optimizer.tasks.batching import terms_of

    for task in own_tasks(app):
        limit = task.time_limit or app.conf.task_time_limit
        if limit and isinstance(task, OptimizedTask) and (size := terms_of(task).size) > 1:
            yield size * limit, f"a batch of {task.name} may take {size} x {limit:,} s"


def _rounded(seconds: float) -> int:
    """Return the next full hour, which is a setting that people write."""
    return -int(-seconds // 3600) * 3600


EXAMINATIONS: Final[tuple[Examination, ...]] = (
    broker_pool,
    broker_retries,
    single_jobs,
    visibility,
)
