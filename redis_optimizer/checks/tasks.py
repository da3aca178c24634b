"""Check what tasks ask for against what the broker and the workers do."""

from collections.abc import Iterable
from typing import Any

from celery import Celery
from celery.app import app_or_default
from django.core.checks import CheckMessage, Warning, register
from django.core.exceptions import ImproperlyConfigured

from redis_optimizer.conf import get_settings
from redis_optimizer.tasks.base import OptimizedTask
from redis_optimizer.tasks.batching import terms_of
from redis_optimizer.tasks.kombu import visibility_timeout

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
    return [message for task in tasks for message in _check_batches(app, task)]


def _check_batches(app: Celery, task: Any) -> Iterable[CheckMessage]:
    size = terms_of(task).size
    if size == 1:
        return
    if not task.acks_late and not task.idempotent:
        yield Warning(
            f"Task {task.name} is sent in batches but acknowledged before it has run: a worker "
            "that is killed loses up to a whole batch.",
            hint="Declare it with acks_late=True, or with idempotent=True if losing jobs is meant.",
            obj=task.name,
            id="redis_optimizer.W010",
        )
    limit = task.time_limit or app.conf.task_time_limit
    half = visibility_timeout(app) / 2
    if limit and size * limit > half:
        yield Warning(
            f"Task {task.name}: {size} jobs of at most {limit} s each can take longer than half of "
            f"the broker's visibility timeout ({half:g} s): the batch may be delivered twice.",
            hint="Lower its batch_size or time_limit, or raise "
            "broker_transport_options['visibility_timeout'].",
            obj=task.name,
            id="redis_optimizer.W011",
        )
