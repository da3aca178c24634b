"""Check what tasks ask for against what the broker and the workers do."""

from collections.abc import Iterable
from typing import Any

from celery import Celery
from celery.app import app_or_default
from django.core.checks import CheckMessage, Error, Warning, register
from django.core.exceptions import ImproperlyConfigured

from redis_optimizer.conf import get_settings
from redis_optimizer.tasks.asking import is_redis
from redis_optimizer.tasks.base import OptimizedTask
from redis_optimizer.tasks.batching import terms_of
from redis_optimizer.tasks.dedup import WINDOWS
from redis_optimizer.tasks.kombu.producers import visibility_timeout
from redis_optimizer.tasks.latest import lifetime

__all__ = ["check_tasks"]


@register
def check_tasks(**kwargs: Any) -> list[CheckMessage]:
    """Check every `OptimizedTask` that the current Celery app has loaded."""
    app: Celery = app_or_default()
    try:
        get_settings()
    except ImproperlyConfigured:  # said by another check
        return []
    tasks = [task for task in app.tasks.values() if isinstance(task, OptimizedTask)]
    messages = [message for task in tasks for message in _check_batches(app, task)]
    deduplicated = [task for task in tasks if task.dedup]
    messages += [message for task in deduplicated for message in _check_dedup(app, task)]
    if deduplicated and not is_redis(app):
        messages.append(
            Warning(
                "No call is deduplicated: the broker is not Redis, which keeps the locks.",
                hint="Use Redis as the broker, or leave dedup out of "
                f"{', '.join(sorted(task.name for task in deduplicated))}.",
                id="redis_optimizer.W013",
            )
        )
    return messages


def _check_batches(app: Celery, task: Any) -> Iterable[CheckMessage]:
    terms = terms_of(task)
    if terms.size == 1 or not terms.timeout:
        return
    if not task.acks_late and not task.idempotent:
        yield Warning(
            f"Task {task.name} is sent in batches but acknowledged before it has run: a worker "
            "that is killed loses jobs that it had begun, and those of its last two seconds may "
            "run again.",
            hint="Declare it with acks_late=True, or with idempotent=True if neither does harm.",
            obj=task.name,
            id="redis_optimizer.W010",
        )
    limit = task.time_limit or app.conf.task_time_limit
    half = visibility_timeout(app) / 2
    if limit and terms.size * limit > half:
        yield Warning(
            f"Task {task.name}: {terms.size} jobs of at most {limit} s each can take longer than "
            f"half of the broker's visibility timeout ({half:g} s): they may be delivered twice.",
            hint="Lower its batch_size or time_limit, or raise "
            "broker_transport_options['visibility_timeout'].",
            obj=task.name,
            id="redis_optimizer.W011",
        )


def _check_dedup(app: Celery, task: Any) -> Iterable[CheckMessage]:
    timeout = visibility_timeout(app)
    ttl = lifetime(task)
    if task.dedup not in WINDOWS and ttl < timeout:
        yield Warning(
            f"Task {task.name}: its dedup_ttl ({ttl:g} s) is shorter than the broker's visibility "
            f"timeout ({timeout:g} s): when a worker is killed, its job is delivered again after "
            "the lock has lapsed, beside a duplicate.",
            hint="Raise dedup_ttl, or lower broker_transport_options['visibility_timeout'].",
            obj=task.name,
            id="redis_optimizer.W012",
        )
    if task.dedup == "keep_last" and not task.acks_late:
        yield Error(
            f"Task {task.name}: with dedup='keep_last' the end of a job sends the one that waits; "
            "of a job that is acknowledged before it has run the end may never come, if its worker "
            "is killed.",
            hint="Declare it with acks_late=True.",
            obj=task.name,
            id="redis_optimizer.E010",
        )
