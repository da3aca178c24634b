"""What results of jobs cost that nobody needs."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any, Final

from redis_optimizer.doctor.celery.evidence import Kept
from redis_optimizer.doctor.celery.measures import gain, own_tasks, redis_backend
from redis_optimizer.doctor.evidence import Evidence, Server
from redis_optimizer.doctor.findings import (
    Examination,
    Found,
    Severity,
    examination,
)

__all__ = ["EXAMINATIONS"]

STORING: Final = 7
"""Commands of a job more with a result in Celery's Redis backend than without one: SUBSCRIBE,
UNSUBSCRIBE, GET, and a transaction of SETEX and PUBLISH."""

LEAN: Final = 1
"""The same in ours: one EVALSHA. What its script does within the server is not counted."""

STARTED: Final = 5
"""Commands that ``task_track_started`` adds to a job, with Celery's Redis backend."""

STARTED_STORES: Final = 2
"""How often a job with it stores something."""

ENOUGH: Final = 20
"""Results that must have been looked at, to say that nobody reads any."""

FEW: Final = 0.1
"""Reads for a result beyond those of storing it, up to which nobody can be said to read them."""

CLEANING: Final = timedelta(days=2)
"""beat cleans once a day: what is that much over time is left for good."""

MOST_ROWS: Final = 10_000

PLAIN_DATABASE: Final = ("django-db", "django_celery_results.backends")


@examination(
    "track-started",
    Severity.WARNING,
    "That a job has begun is stored like a result, by five commands, and seldom looked at.",
)
def track_started(evidence: Evidence) -> Iterator[Found]:
    backend = _plain_backend(evidence)
    if backend is None:
        return
    conf, tasks = evidence.app.conf, list(own_tasks(evidence.app))
    names = sorted(task.name for task in tasks if task.track_started and not task.ignore_result)
    is_set = conf.task_track_started and not conf.task_ignore_result
    if not names and not (is_set and not tasks):
        return
    stores = _stores(evidence, backend)
    rate = None if stores is None else stores / STARTED_STORES
    saves, arithmetic = gain(evidence, rate, "jobs with a result", STARTED)
    yield Found(
        what="CELERY_TASK_TRACK_STARTED is True."
        if conf.task_track_started
        else f"track_started is True in {', '.join(names[:3])}.",
        change="Leave it out; tasks that need it can say track_started=True.",
        saves=saves,
        at_most=True,
        arithmetic=arithmetic,
    )


@examination(
    "unread-results",
    Severity.WARNING,
    "A result that nobody reads costs seven commands and memory for a day.",
)
def unread_results(evidence: Evidence) -> Iterator[Found]:
    backend = _plain_backend(evidence)
    kept = _unread(evidence, backend)
    if kept is None:
        return
    saves, arithmetic = gain(evidence, _stores(evidence, backend), "results", STORING)
    yield Found(
        what=f"Of {kept.old} results that were stored a minute ago or earlier nobody has read one.",
        change="CELERY_TASK_IGNORE_RESULT = True; tasks whose results are read can say "
        "ignore_result=False.",
        saves=saves,
        at_most=True,
        arithmetic=arithmetic,
    )


@examination(
    "plain-results",
    Severity.INFO,
    "Celery's Redis backend takes seven commands for a result; ours takes one, answers the same "
    "calls, and keeps the last results of each task instead of a day's.",
)
def plain_results(evidence: Evidence) -> Iterator[Found]:
    backend = _plain_backend(evidence)
    if backend is None or _unread(evidence, backend):
        return
    saves, arithmetic = gain(evidence, _stores(evidence, backend), "results", STORING - LEAN)
    yield Found(
        what="CELERY_RESULT_BACKEND is Celery's own.",
        change='CELERY_RESULT_BACKEND = "redis_optimizer.tasks.results:RedisBackend+redis://...", '
        "as celery_settings() has it",
        saves=saves,
        at_most=True,
        arithmetic=arithmetic,
    )


@examination(
    "endless-results",
    Severity.WARNING,
    "Results that never expire fill the server's memory, or the table.",
)
def endless_results(evidence: Evidence) -> Iterator[Found]:
    app = evidence.app
    if app is None:
        return
    backend, kept = _plain_backend(evidence), evidence.kept
    if (backend is not None or _is_plain_database(app)) and not app.conf.result_expires:
        yield Found(
            what=f"CELERY_RESULT_EXPIRES is {app.conf.result_expires!r}.",
            change="CELERY_RESULT_EXPIRES = 3600, in seconds. manage.py redis_optimizer_prune "
            "takes what is there.",
        )
    elif backend is not None and kept is not None and kept.endless:
        yield Found(
            what=f"{kept.endless} of {kept.seen} results in Redis never expire, though "
            "CELERY_RESULT_EXPIRES is set: an earlier deployment left them.",
            change="manage.py redis_optimizer_prune",
            severity=Severity.INFO,
        )


@examination(
    "uncleaned-results",
    Severity.WARNING,
    "Results in the database do not expire by themselves: celery beat deletes them once a day, "
    "where it runs and a worker takes its job.",
)
def uncleaned_results(evidence: Evidence) -> Iterator[Found]:
    app = evidence.app
    if app is None or not _is_plain_database(app) or not app.conf.result_expires:
        return
    rows = _overdue_rows(app.conf.result_expires)
    if rows:
        more = " or more" if rows >= MOST_ROWS else ""
        yield Found(
            what=f"{rows:,}{more} results in the database should have been deleted days ago.",
            change="Run celery beat; or CELERY_RESULT_BACKEND = "
            '"redis_optimizer.tasks.results:DatabaseBackend", which keeps the last of each task. '
            "manage.py redis_optimizer_prune deletes what is there.",
        )


def _overdue_rows(expires: Any) -> int:
    from django.utils.timezone import now
    from django_celery_results.models import TaskResult

    lifetime = expires if isinstance(expires, timedelta) else timedelta(seconds=expires)
    overdue = TaskResult.objects.filter(date_done__lt=now() - lifetime - CLEANING)
    return overdue[:MOST_ROWS].count()


def _unread(evidence: Evidence, backend: Any) -> Kept | None:
    """Return the results that were looked at where nobody reads any; else None.

    Who waits in ``get()`` is sent the result, and does not read it once it is stored, but has read
    in vain before: so there is a GET more than that of storing it.
    """
    kept, server = evidence.kept, evidence.server_of("results")
    if backend is None or kept is None or server is None:
        return None
    if kept.old < ENOUGH or kept.unread < kept.old:
        return None
    stores = _stores(evidence, backend) or 0.0
    return kept if server.rate("get") - stores <= stores * FEW else None


def _stores(evidence: Evidence, backend: Any) -> float | None:
    """Return how many results a second are stored; None where nobody could look."""
    server: Server | None = evidence.server_of("results")
    if server is None:
        return None
    # Each is published, too, while a cache sends many a SET.
    return min(server.rate("setex" if backend.expires else "set"), server.rate("publish"))


def _plain_backend(evidence: Evidence) -> Any:
    """Return Celery's own Redis backend; None where there is another."""
    backend = redis_backend(evidence.app)
    if backend is None:
        return None
    from redis_optimizer.tasks.results import RedisBackend, SentinelBackend

    return None if isinstance(backend, RedisBackend | SentinelBackend) else backend


def _is_plain_database(app: Any) -> bool:
    return str(app.conf.result_backend or "").startswith(PLAIN_DATABASE)


EXAMINATIONS: Final[tuple[Examination, ...]] = (
    track_started,
    unread_results,
    plain_results,
    endless_results,
    uncleaned_results,
)
