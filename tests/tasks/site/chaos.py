"""Tasks that run while their workers are killed. ``SITE_BASE`` says what they are made of."""

import os
import time

from celery import Task, shared_task

from tests.tasks.site import runs

if os.environ.get("SITE_BASE") == "plain":
    options = {"base": Task}
else:
    from redis_optimizer.tasks import OptimizedTask

    options = {"base": OptimizedTask, "batch_size": 20, "batch_timeout": 0.05}
if os.environ.get("SITE_BASE") == "early":
    options |= {"acks_late": False, "reject_on_worker_lost": False}


@shared_task(bind=True, **options)
def work(self, label, seconds=0.02):
    time.sleep(seconds)
    runs.record(label, self.request.id)


@shared_task(bind=True, max_retries=None, **options)
def poison(self, label):
    """Take the child with it."""
    runs.record(label, self.request.id)
    os._exit(9)
