"""Tasks whose jobs processes send in every way of ending."""

from celery import shared_task

from redis_optimizer.tasks import OptimizedTask
from tests.tasks.site import runs


@shared_task(bind=True, base=OptimizedTask, batch_size=100, batch_timeout=60.0)
def buffered(self, label):
    runs.record(label)


@shared_task(bind=True, acks_late=False)  # else one that is terminated runs again
def sends(self, labels, how="return"):
    """Send jobs from a worker's child."""
    import os
    import signal

    for label in labels:
        buffered.delay(label)
    if how == "raise":
        raise ValueError
    if how == "term":
        os.kill(os.getpid(), signal.SIGTERM)


def send_some(labels):
    """Send jobs from a process of multiprocessing."""
    import django

    django.setup()
    from tests.tasks.site.app import app

    app.loader.import_default_modules()
    for label in labels:
        buffered.delay(label)
