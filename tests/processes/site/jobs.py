"""Tasks that read the cache, and that send jobs on."""

from celery import shared_task
from django.core.cache import cache

from redis_optimizer.tasks import OptimizedTask
from tests.tasks.site import runs

KEY = "greeting"


@shared_task(base=OptimizedTask, batch_size=1000, batch_timeout=600.0)
def buffered(label):
    """Note a label; calls wait until their process ends."""
    runs.record("buffered", label)


@shared_task(base=OptimizedTask, batch_size=1000, batch_timeout=0.2)
def batched(label):
    """Note a label; calls wait for each other for a moment."""
    runs.record("batched", label)


@shared_task(acks_late=False)
def look():
    """Note what the cache says, and whether it did so without Redis."""
    hits = cache.tier.hits
    value = cache.get(KEY)
    runs.record("look", f"{value}, {'kept' if cache.tier.hits > hits else 'fetched'}")


@shared_task(acks_late=False)
def send_on(label):
    """Send a job that waits until this process ends."""
    buffered.delay(label)
    runs.record("sent", label)
