"""The Celery app of a site: `celery -A redis_optimizer.management.benchmark.jobs.app worker`."""

from __future__ import annotations

import os
import signal
import sys
import threading

from celery import Celery
from celery.signals import worker_init, worker_ready

from redis_optimizer.management.benchmark.jobs.order import SETTINGS, read_order

os.environ.setdefault("DJANGO_SETTINGS_MODULE", SETTINGS)

app = Celery("benchmark")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.conf.imports = ("redis_optimizer.management.benchmark.jobs.tasks",)


@worker_init.connect
def stop_with_parent(**kwargs: object) -> None:
    """End the worker when the benchmark is gone, however it went: our stdin ends then."""

    def wait() -> None:
        # Not sys.stdin.read(): it would hold a lock that the forked children wait for.
        while os.read(sys.stdin.fileno(), 1024):
            pass
        os.kill(os.getpid(), signal.SIGQUIT)

    threading.Thread(target=wait, daemon=True).start()


@worker_ready.connect
def say_ready(**kwargs: object) -> None:
    """Tell the benchmark that jobs are taken."""
    read_order().ready.touch()
