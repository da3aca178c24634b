"""What every process of a canvas run saw of each job: one JSON line each, in one file.

A line says in which kind of process (the producer, the worker's main process or a child of its
pool), in which run of that process, and while which job ran there.
"""

import json
import os
import time
from itertools import count as counter
from pathlib import Path

from celery import current_task, signals
from celery.app.task import Context
from django.conf import settings

role = "producer"
case = None  # of the producer
runs = counter(1)
run = None  # of this process; None between the jobs
descriptor = os.open(settings.CANVAS_RECORD, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
REQUEST = [name for name, value in vars(Context).items() if name[0] != "_" and not callable(value)]


def write(event, id, **seen):
    """Append a line; one write of a file opened with O_APPEND is never torn."""
    by = current_task.request.id if current_task else None
    line = {"event": event, "id": id, "role": role, "run": run, "by": by, "case": case}
    text = json.dumps(line | {"seen": seen}, default=repr, sort_keys=True)
    os.write(descriptor, f"{text}\n".encode())


def read():
    """Return the lines of all processes."""
    text = Path(settings.CANVAS_RECORD).read_text()
    complete = text[: text.rfind("\n") + 1]  # a reader may see a write half done
    return [json.loads(line) for line in complete.splitlines()]


def count(id, event):
    """Return how often an event of a job has been recorded."""
    return sum(line["id"] == id and line["event"] == event for line in read())


def of_group(group):
    """Return the lines with which the jobs of a group began."""
    begun = (line for line in read() if line["event"] == "task_prerun")
    return [line for line in begun if line["seen"]["request"]["group"] == group]


def wait(predicate, timeout=30):
    """Wait until a predicate is true."""
    deadline = time.monotonic() + timeout
    while not predicate():
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.02)


def request_of(task):
    """Return every field of a running task's request."""
    names = {*REQUEST, *vars(task.request)} - {"_children", "_protected", "children"}
    return {name: getattr(task.request, name) for name in names}


@signals.worker_init.connect(weak=False)
def become_main(**kwargs):
    global role
    role = "main"


@signals.worker_process_init.connect(weak=False)
def become_child(**kwargs):
    global role
    role = "child"


@signals.before_task_publish.connect(weak=False)
def before_task_publish(sender, headers, body, declare, **seen):
    for name in ("signal", "retry_policy"):
        seen.pop(name)
    names = [queue.name for queue in declare]
    write("before_task_publish", headers["id"], headers=headers, body=body, declare=names, **seen)


@signals.after_task_publish.connect(weak=False)
def after_task_publish(sender, headers, body, exchange, routing_key, **kwargs):
    seen = {"sender": sender, "exchange": exchange, "routing_key": routing_key}
    write("after_task_publish", headers["id"], headers=headers, body=body, **seen)


@signals.task_received.connect(weak=False)
def task_received(request, **kwargs):
    write("task_received", request.id, name=request.name)


@signals.task_prerun.connect(weak=False)
def task_prerun(task_id, task, args, kwargs, **rest):
    global run
    run = f"{os.getpid()}-{next(runs)}"
    write("task_prerun", task_id, args=args, kwargs=kwargs, request=request_of(task))


@signals.task_postrun.connect(weak=False)
def task_postrun(task_id, task, retval, state, **kwargs):
    global run
    children = [child.id for child in task.request.children]
    write("task_postrun", task_id, retval=retval, state=state, children=children)
    run = None


@signals.task_success.connect(weak=False)
def task_success(sender, result, **kwargs):
    write("task_success", sender.request.id, result=result)


@signals.task_failure.connect(weak=False)
def task_failure(task_id, exception, args, kwargs, einfo, **rest):
    kind = type(einfo).__name__
    write("task_failure", task_id, exception=exception, args=args, kwargs=kwargs, einfo=kind)


@signals.task_retry.connect(weak=False)
def task_retry(request, reason, einfo, **kwargs):
    write("task_retry", request.id, reason=reason, einfo=type(einfo).__name__)


@signals.task_revoked.connect(weak=False)
def task_revoked(request, terminated, signum, expired, **kwargs):
    write("task_revoked", request.id, terminated=terminated, signum=signum, expired=expired)


@signals.task_unknown.connect(weak=False)
def task_unknown(name, id, **kwargs):
    write("task_unknown", id, name=name)


@signals.task_internal_error.connect(weak=False)
def task_internal_error(task_id, exception, **kwargs):
    write("task_internal_error", task_id, exception=exception)
