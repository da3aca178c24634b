"""Tasks that tell what they were called with."""

from celery import shared_task

from redis_optimizer.tasks import BatchTask
from tests.tasks.site.values import describe

OPTIONS = {"ignore_result": False, "acks_late": True}


@shared_task(**OPTIONS)
def plain(value):
    return describe(value)


@shared_task(base=BatchTask, batch_size=50, batch_timeout=60, **OPTIONS)
def batched(value):
    return describe(value)
