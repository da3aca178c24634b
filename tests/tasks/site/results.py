"""Tasks whose results are kept."""

import os
import signal
import time

from celery import shared_task


@shared_task(ignore_result=False)
def add(x, y=0):
    return x + y


@shared_task(ignore_result=False)
def total(numbers):
    return sum(numbers)


@shared_task(ignore_result=False)
def late(number, seconds=0.5):
    time.sleep(seconds)
    return number


@shared_task(ignore_result=False)
def fail(number=0):
    raise KeyError(number)


@shared_task(ignore_result=False, acks_late=False)
def die():
    os.kill(os.getpid(), signal.SIGKILL)


@shared_task(ignore_result=False, bind=True, max_retries=3)
def again(self, times):
    if self.request.retries < times:
        raise self.retry(countdown=0.5)
    return self.request.retries


@shared_task(ignore_result=False, bind=True)
def parent(self, number):
    return add.delay(number, 1).id


@shared_task(ignore_result=False, bind=True)
def unserializable(self):
    return object()


@shared_task(ignore_result=False)
def few(number):
    return number


few.keep_succeeded = 2


@shared_task(ignore_result=False)
def every(number):
    return number


every.keep_succeeded = 0
