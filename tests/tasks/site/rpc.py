"""Tasks whose results are waited for, one of them in batches."""

from celery import shared_task

from redis_optimizer.tasks import OptimizedTask


@shared_task(ignore_result=False)
def alone(number):
    return number


@shared_task(ignore_result=False, base=OptimizedTask, batch_size=100, batch_timeout=60.0)
def batched(number):
    return number
