"""Tasks that ask all of the broker's server that tasks can ask."""

import os
import signal
import time
from pathlib import Path
from typing import Any

from celery import shared_task

from redis_optimizer.tasks import OptimizedTask
from tests.tasks.site import runs

BATCH: dict[str, Any] = {"base": OptimizedTask, "batch_size": 3, "batch_timeout": 60.0}
KEPT: dict[str, Any] = {"ignore_result": False, "acks_late": True}
ONCE: dict[str, Any] = {"base": OptimizedTask, "dedup_on": "key", "dedup_ttl": 1}
MODES = ("until_executing", "until_executed", "throttle", "debounce", "keep_last")


@shared_task(**BATCH, **KEPT)
def batched(number):
    return number


@shared_task(bulk=True, **BATCH, **KEPT)
def together(jobs):
    return [job.args[0] for job in jobs]


@shared_task(base=OptimizedTask, bind=True, max_retries=1, **KEPT)
def again(self):
    if not self.request.retries:
        raise self.retry(countdown=0.1)


@shared_task(bind=True, **(BATCH | {"batch_size": 6}))
def killing(self, number, path):
    """Kill the worker at the last job, once the progress of the others is recorded."""
    if number == 5 and not Path(path).exists():
        Path(path).touch()
        time.sleep(2)
        os.killpg(os.getpgid(0), signal.SIGKILL)
    runs.record(self.request.id, f"survived {number}")


def _once(mode):
    @shared_task(name=f"once.{mode}", dedup=mode, **ONCE, **KEPT)
    def run(key, number):
        return number

    return run


ALL = {mode: _once(mode) for mode in MODES}
