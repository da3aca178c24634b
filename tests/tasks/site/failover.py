"""Tasks that run while the broker fails over, and what sends them: `main`."""

import json
import sys
import time

from celery import shared_task
from celery.exceptions import TimeoutError as ResultTimeoutError
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from redis_optimizer.tasks import OptimizedTask
from tests.tasks.site import runs

# Who waits for a result of a server that freezes hears nothing more of it, and has to ask again.
AWAY = (OperationalError, RedisError, OSError, ResultTimeoutError)
PATIENT = 60.0  # seconds
ASK_AGAIN = 5.0  # seconds
RUNS = 2.0  # seconds of `once`: on a busy machine its like may be called for that much later


@shared_task(bind=True, base=OptimizedTask, batch_size=20, batch_timeout=0.05)
def work(self, label, seconds=0.0):
    time.sleep(seconds)
    runs.record(label, self.request.id)
    return label


@shared_task(base=OptimizedTask, dedup="until_executed")
def once(label):
    time.sleep(RUNS)
    return label


def persist(call):
    """Return what a call returns, once the broker answers."""
    deadline = time.monotonic() + PATIENT
    while True:
        try:
            return call()
        except AWAY:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def main():
    """Send jobs as each line of the input says: a label, how many, and the seconds that one takes.

    Prints how many results came, of jobs that take no time, and whether two equal calls were one
    job.
    """
    for line in sys.stdin:
        label, count, seconds = line.split()
        sent = [work.delay(f"{label}-{n}", float(seconds)) for n in range(int(count))]
        waited = [] if float(seconds) else sent
        results = [persist(lambda job=job: job.get(timeout=ASK_AGAIN)) for job in waited]
        first, second = (persist(lambda label=label: once.delay(label)) for _ in range(2))
        print(json.dumps([len(results), first.id == second.id]), flush=True)
