"""A task as an older deployment has it, and with redis_optimizer among the apps as a newer one."""

import sys
import time
from pathlib import Path

from celery import shared_task
from django.apps import apps

from tests.tasks.site import runs

options = {}
if apps.is_installed("redis_optimizer"):
    from redis_optimizer.tasks import OptimizedTask

    options = {"base": OptimizedTask, "batch_size": 10, "batch_timeout": 60.0}


@shared_task(acks_late=True, **options)
def numbered(number):
    time.sleep(0.01)
    runs.record(number)


def produce(name, stop):
    """Send jobs until a file exists, and print the numbers of those that were sent."""
    sent = []
    while not Path(stop).exists():
        sent.append(f"{name}-{len(sent)}")
        numbered.delay(sent[-1])
        time.sleep(0.02)
    sys.stdout.write("\n".join(sent))
