"""The tasks of the canvas table, declared once for whichever base the settings name.

``CANVAS_BASE`` is a dotted path, empty for Celery's own; ``CANVAS_OPTIONS`` are the options that
every task gets besides its own.
"""

import json
import os
from functools import partial

from celery import current_app, group, shared_task
from celery.app.task import Task
from celery.exceptions import Ignore, Reject
from django.conf import settings
from django.utils.module_loading import import_string
from kombu.serialization import register

from tests.tasks.site import canvas_record

base = import_string(settings.CANVAS_BASE) if settings.CANVAS_BASE else None
task = partial(shared_task, **({"base": base} if base else {}), **settings.CANVAS_OPTIONS)

register(
    "shout",
    lambda value: json.dumps(value).swapcase(),
    lambda text: json.loads(text.swapcase()),
    content_type="application/x-shout",
    content_encoding="utf-8",
)


@task
def add(x, y):
    return x + y


@task
def total(numbers):
    return sum(numbers)


@task(bind=True)
def last(self, x, y, after):
    """Add as the last of its group: a chord's body is the child of the member that ends last."""

    def others():
        mine = [line["id"] for line in canvas_record.of_group(self.request.group)]
        return sum(canvas_record.count(id, "task_postrun") for id in mine)

    canvas_record.wait(lambda: others() >= after)
    return x + y


@task
def echo(*args, **kwargs):
    return {"args": list(args), "kwargs": kwargs}


@task(bind=True)
def bound(self, *args):
    return [self.name, self.request.retries, self.request.called_directly, list(args)]


@task
def boom(text="boom"):
    raise ValueError(text)


@task
def failed_id(id):
    """Take the id of what failed: the errback is sent as a job."""
    return id


@task
def failed_request(request, error, traceback):
    """Take the request of what failed: the errback is called in the child."""
    canvas_record.write("errback", request.id, error=error, traceback=type(traceback).__name__)


@task(ignore_result=True)
def silent(x):
    return x


@task(typing=False)
def untyped(x):
    return repr(x)


# Not at once: the state of this run may be stored when the next one has ended already.
@task(bind=True, default_retry_delay=0.5)
def retry(self, times):
    if self.request.retries < times:
        raise self.retry(exc=ValueError(f"attempt {self.request.retries}"), max_retries=5)
    return self.request.retries


@task(bind=True, max_retries=1)
def exceed(self):
    raise self.retry(exc=ValueError("too often"), countdown=0.5)


@task(bind=True, max_retries=1)
def exceed_silently(self):
    raise self.retry(countdown=0.5)


@task(bind=True, autoretry_for=(ValueError,), retry_kwargs={"max_retries": 2, "countdown": 0.5})
def autoretry(self, times):
    if self.request.retries < times:
        raise ValueError("again")
    return self.request.retries


@task(throws=(KeyError,))
def expected():
    raise KeyError("expected")


@task(bind=True)
def ignored(self):
    self.update_state(state="PROGRESS", meta={"done": 1})
    raise Ignore


@task(bind=True, acks_late=True)
def rejected(self, requeue=False):
    """Reject itself; once only, for a job that is queued again runs under the same id."""
    seen = canvas_record.count(self.request.id, "task_prerun")
    if seen == 1:
        raise Reject("not now", requeue=requeue)
    return seen


@task(bind=True)
def spawn(self, parent=True):
    """Send jobs from a job."""
    add.apply_async((1, 1), add_to_parent=parent)
    add.apply_async((2, 2), add_to_parent=parent)
    return len(self.request.children)


@task(bind=True)
def replaced(self, signature):
    return self.replace(self.app.signature(signature))


@task(bind=True)
def replaced_by_group(self):
    return self.replace(group(add.s(1, 1), last.s(2, 2, after=1)))


@task(bind=True)
def adds_to_chord(self):
    self.add_to_chord(last.s(0, 1, after=1))
    return 1


@task(bind=True)
def wait_for(self, path):
    """Hold the process until the file exists."""
    canvas_record.wait(lambda: os.path.exists(path))


class Custom(base or Task):
    """A class of its own, with every handler."""

    name = "canvas.custom"
    greeting = "hello"

    def run(self, name, fail=False):
        if fail:
            raise ValueError(name)
        return f"{self.greeting} {name}"

    def before_start(self, task_id, args, kwargs):
        canvas_record.write("before_start", task_id, args=args, kwargs=kwargs)

    def on_success(self, retval, task_id, args, kwargs):
        canvas_record.write("on_success", task_id, retval=retval, args=args)

    def on_failure(self, exc, task_id, args, kwargs, einfo):
        canvas_record.write("on_failure", task_id, exc=exc, args=args, einfo=type(einfo).__name__)

    def after_return(self, status, retval, task_id, args, kwargs, einfo):
        canvas_record.write("after_return", task_id, status=status, retval=retval, args=args)


for name, value in settings.CANVAS_OPTIONS.items():
    setattr(Custom, name, value)
custom = current_app.register_task(Custom())


@task(base=type("Handlers", (Custom,), {}), name="canvas.handled")
def handled(name):
    return name
