"""The Celery app of the site, and its tasks: ``celery -A tests.soak.site.app worker``."""

import os
import time

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.soak.site.settings")

from redis_optimizer.tasks import OptimizedTask
from tests.soak.site import ledger
from tests.soak.site.settings import DEDUP_TTL, THROTTLE

app = Celery("soak")
app.config_from_object("django.conf:settings", namespace="CELERY")

LATE = {"acks_late": True, "reject_on_worker_lost": True}


@app.task(base=OptimizedTask, batch_size=20, batch_timeout=0.1, **LATE)
def batched(label):
    """Run in a batch."""
    ledger.record(label)


@app.task(base=OptimizedTask, **LATE)
def single(label):
    """Run as an ordinary message, which leaves when the request ends."""
    ledger.record(label)


@app.task(
    bind=True,
    base=OptimizedTask,
    dedup="until_executed",
    dedup_on="key",
    dedup_ttl=DEDUP_TTL,
    **LATE,
)
def once(self, key):
    """Run one at a time for each key."""
    ledger.record(self.request.id, key)
    time.sleep(0.05)
    ledger.record(self.request.id, key, "end")


@app.task(
    bind=True, base=OptimizedTask, dedup="throttle", dedup_on="key", dedup_ttl=THROTTLE, **LATE
)
def throttled(self, key):
    """Run once in THROTTLE seconds for each key."""
    ledger.record(self.request.id, key)
