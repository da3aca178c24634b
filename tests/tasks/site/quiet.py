"""Tasks of workers that are stopped, and of web processes that wait for results."""

import time

from celery import shared_task

from redis_optimizer.tasks import worker  # noqa: F401  # it connects its signals
from tests.tasks.site import runs


@shared_task(bind=True)
def note(self, number=0):
    runs.record(self.request.id, str(number))
    return number


@shared_task(ignore_result=False)
def double(number):
    return 2 * number


@shared_task(bind=True)
def rest(self, seconds):
    time.sleep(seconds)
    runs.record(self.request.id, "rested")
