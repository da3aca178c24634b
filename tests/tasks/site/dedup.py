"""Tasks that are deduplicated, and that end in every way in which a job can end."""

import os
import signal
import time
from pathlib import Path

from celery import shared_task
from celery.exceptions import Ignore, Reject

from redis_optimizer.tasks import OptimizedTask
from tests.tasks.site import runs

TTL = 600
WINDOW = 2.0


def gate(path, name):
    """Return the file that lets jobs with the order "wait <name>" go on.

    Args:
        path: of the table of runs.
        name: of the gate.
    """
    return Path(path).with_name(name)


def wait(how=""):
    """Wait for a gate, if told so."""
    if how.startswith("wait "):
        while not gate(os.environ["SITE_RUNS"], how[len("wait ") :]).exists():
            time.sleep(0.01)


def run(task, number, how):
    """Record a run of a job, and let it end as told."""
    runs.record(task.request.id, str(number))
    path = os.environ["SITE_RUNS"]
    once, _, then = how.partition(" once, then ")
    if then:
        how = once if runs.counts(path)[task.request.id] == 1 else then
    wait(how)
    if how == "sleep":
        time.sleep(30)
    if how == "fail":
        raise ValueError(number)
    if how == "ignore":
        raise Ignore
    if how == "reject":
        raise Reject("not wanted", requeue=False)
    if how == "requeue":
        raise Reject("not now", requeue=True)
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "retry" and not task.request.retries:
        raise task.retry(countdown=1)
    return number


@shared_task(base=OptimizedTask, bind=True, dedup="until_executed", dedup_on="key", dedup_ttl=TTL)
def executed(self, key, number=0, how=""):
    return run(self, number, how)


@shared_task(base=OptimizedTask, bind=True, dedup="until_executing", dedup_on="key", dedup_ttl=TTL)
def executing(self, key, number=0, how=""):
    return run(self, number, how)


@shared_task(base=OptimizedTask, bind=True, dedup="throttle", dedup_on="key", dedup_ttl=TTL)
def throttled(self, key, number=0, how=""):
    return run(self, number, how)


@shared_task(base=OptimizedTask, bind=True, dedup="debounce", dedup_on="key", dedup_ttl=WINDOW)
def debounced(self, key, number=0, how=""):
    return run(self, number, how)


@shared_task(base=OptimizedTask, bind=True, dedup="keep_last", dedup_on="key", dedup_ttl=TTL)
def last(self, key, number=0, how=""):
    return run(self, number, how)


@shared_task(base=OptimizedTask, dedup="keep_last", dedup_on="key", dedup_ttl=TTL)
def unbound(key, number=0):
    runs.record("unbound", str(number))


@shared_task(base=OptimizedTask, bulk=True, batch_size=10, batch_timeout=60, dedup="until_executed")
def bulky(jobs):
    for job in jobs:
        runs.record(job.id, str(job.args[0]))


@shared_task(
    base=OptimizedTask,
    bulk=True,
    batch_size=3,
    batch_timeout=60,
    dedup="until_executing",
    dedup_on=lambda key, how="": key,
)
def counting(jobs):
    for job in jobs:
        runs.record(job.id, str(job.args[0]))
    for job in jobs:
        wait(*job.args[1:])


class Stumbling:
    """A result backend that cannot note that a job has started."""

    def store_result(self, job, result, state, **options):
        if state == "STARTED":
            raise OSError("The disk is full")

    def prepare_exception(self, exc, serializer=None):
        return exc

    def __getattr__(self, name):
        return lambda *args, **kwargs: None


@shared_task(
    base=OptimizedTask,
    dedup="until_executed",
    dedup_ttl=TTL,
    ignore_result=False,
    track_started=True,
    backend=Stumbling(),
)
def stumbling():
    runs.record("stumbling")


@shared_task
def total(numbers):
    runs.record("total", str(sum(numbers)))
