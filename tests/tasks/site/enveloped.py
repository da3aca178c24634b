"""Tasks whose jobs travel in envelopes, and how to send those by hand."""

import os
import signal
import time
from pathlib import Path

from celery import shared_task, signals
from celery.exceptions import Ignore
from celery.worker.request import Request
from kombu.serialization import dumps
from kombu.utils.uuid import uuid

from redis_optimizer.tasks import BatchTask
from redis_optimizer.tasks.envelope import envelope_message
from redis_optimizer.tasks.kombu.sending import send
from redis_optimizer.tasks.message import Message
from tests.tasks.site import runs


@shared_task(bind=True, ignore_result=False)
def double(self, number):
    runs.record(self.request.id, str(number))
    return 2 * number


@shared_task(bind=True, ignore_result=False)
def fail(self, number):
    runs.record(self.request.id, "fail")
    raise ValueError(number)


@shared_task(bind=True, ignore_result=False, max_retries=3)
def retry_twice(self, number):
    runs.record(self.request.id, f"attempt {self.request.retries}")
    if self.request.retries < 2:
        raise self.retry(countdown=0.5)
    return number


@shared_task(bind=True)
def nap(self, seconds):
    runs.record(self.request.id, "begun")
    time.sleep(seconds)
    runs.record(self.request.id, "done")


@shared_task(bind=True)
def held(self, path):
    """Hold a process of the pool until there is such a file."""
    runs.record(self.request.id, "begun")
    while not os.path.exists(path):
        time.sleep(0.01)


@shared_task(bind=True, ignore_result=False, time_limit=1)
def overrun(self, number):
    runs.record(self.request.id, "overrun")
    time.sleep(30)


@shared_task(bind=True)
def kill_once(self, path):
    """Kill its own process at its first run."""
    runs.record(self.request.id, "kill")
    if not os.path.exists(path):
        Path(path).touch()
        os.kill(os.getpid(), signal.SIGKILL)


@shared_task(bind=True, rate_limit="2/s")
def limited(self, number):
    runs.record(self.request.id, f"limited {number}")


@shared_task(bind=True, ignore_result=False, reject_on_worker_lost=False)
def quick(self, number):
    """Take no time; numbers below zero have ways of their own."""
    if number == -1:
        runs.record(self.request.id, "kill")
        os.kill(os.getpid(), signal.SIGKILL)
    elif number == -2:
        runs.record(self.request.id, "begun")
        time.sleep(30)
    elif number == -3:
        raise KeyError(number)
    elif number == -4:
        time.sleep(0.2)
    return number


@shared_task(ignore_result=False)
def exhaust(number):
    """Take more memory than there is."""
    raise MemoryError(number)


@shared_task(acks_late=False)
def early(number):
    pass


BULK = {"base": BatchTask, "bulk": True, "bind": True, "ignore_result": False, "acks_late": True}


@shared_task(**BULK, reject_on_worker_lost=False)
def sum_up(self, jobs):
    """Write who runs together; numbers below zero have ways of their own."""
    together = len(jobs)
    results = []
    for job in jobs:
        (number,) = job.args
        runs.record(job.id, f"with {together}")
        if number == -1:
            job.fail(KeyError(number))
        elif number == -2 and job.request.retries < 1:
            job.retry(countdown=0.5)
        elif number == -3:
            raise RuntimeError("the whole call")
        elif number == -4:
            time.sleep(0.1)  # until the others are written down
            os.kill(os.getpid(), signal.SIGKILL)
        elif number == -5:
            time.sleep(30)
        elif number == -6:
            raise MemoryError(number)
        results.append(number * 10)
    return results


class Told(Request):
    def on_accepted(self, *args):
        runs.record(self.id, "accepted")
        super().on_accepted(*args)


class Telling(BatchTask):
    abstract = True
    Request = "tests.tasks.site.enveloped:Told"


@shared_task(**BULK | {"base": Telling})
def told(self, jobs):
    return [job.args[0] * 10 for job in jobs]


class Guarded(BatchTask):
    abstract = True

    def before_start(self, task_id, args, kwargs):
        runs.record(task_id, "before")
        if args == [-1]:
            raise KeyError(-1)
        if args == [-2]:
            raise Ignore


@shared_task(**BULK | {"base": Guarded})
def guarded(self, jobs):
    for job in jobs:
        runs.record(job.id, f"with {len(jobs)}")
    return [job.args[0] * 10 for job in jobs]


@shared_task(**BULK)
def tell_signals(self, jobs):
    for job in jobs:
        runs.record(job.id, "run")
        if job.args == (-1,):
            job.fail(ValueError())


@signals.task_prerun.connect
def note_prerun(sender, task_id, **kwargs):
    if sender.name == tell_signals.name:
        runs.record(task_id, "prerun")


@signals.task_success.connect
def note_success(sender, **kwargs):
    if sender.name == tell_signals.name:
        runs.record(sender.request.id, "success")


@signals.task_failure.connect
def note_failure(sender, task_id, **kwargs):
    if sender.name == tell_signals.name:
        runs.record(task_id, "failure")


@signals.task_postrun.connect
def note_postrun(sender, task_id, state, **kwargs):
    if sender.name == tell_signals.name:
        runs.record(task_id, f"postrun {state}")


def make_job(app, task, *args, queue="celery", priority=0, **options):
    """Make a job's message, as Celery would send it."""
    name = getattr(task, "name", task)
    made = app.amqp.as_task_v2(uuid(), name, args=args, kwargs={}, **options)
    content_type, content_encoding, body = dumps(made.body, "json")
    return Message(
        id=made.headers["id"],
        task=name,
        body=body,
        content_type=content_type,
        content_encoding=content_encoding,
        headers=made.headers,
        properties=made.properties | {"delivery_mode": 2},
        exchange="",
        routing_key=queue,
        priority=priority,
    )


def send_envelope(app, *jobs):
    """Send jobs in an envelope; return their ids."""
    send(app, [envelope_message(app, jobs)])
    return [job.id for job in jobs]
