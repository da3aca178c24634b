"""An app in the test's own process, and calls with jobs of its task."""

import contextlib
import json
from collections.abc import Callable, Iterator
from typing import Any

from celery import Celery
from celery.app import app_or_default
from kombu.utils.uuid import uuid

from redis_optimizer.tasks import BatchTask
from redis_optimizer.tasks.call import run_call
from redis_optimizer.tasks.message import Message
from redis_optimizer.tasks.packed import pack
from redis_optimizer.tasks.parts import About


@contextlib.contextmanager
def own_app() -> Iterator[Celery]:
    """Make an app the current one."""
    # Its backend is shared by all apps of the process: ids are of one test each.
    previous, name = app_or_default(), uuid()
    app = Celery(name, broker="memory://", backend="cache+memory://", set_as_current=False)
    app.set_current()
    yield app
    previous.set_current()


def make(app: Celery, function: Callable[..., Any], **options: Any) -> Any:
    """Make a bulk task of a function."""
    app.task(base=BatchTask, bulk=True, name="bulk.task", shared=False, **options)(function)
    return app.tasks["bulk.task"]  # not the proxy that becomes it


def job(app: Celery, number: int, **headers: Any) -> Message:
    """Make a job of the task; the header "embed" is what follows its arguments in the body."""
    headers = {"id": f"{app.main}-{number}", "task": "bulk.task"} | headers
    return Message(
        id=headers["id"],
        task="bulk.task",
        body=json.dumps([[number], {"k": number}, headers.pop("embed", {})]),
        content_type="application/json",
        content_encoding="utf-8",
        headers=headers,
        properties={"correlation_id": headers["id"]},
        exchange="",
        routing_key="celery",
        priority=3,
    )


def run_jobs(*jobs: Message, events: bool = True) -> dict[int, Any]:
    """Run jobs in one call; with `events` the outcome of each is returned."""
    return run_call(jobs[0].task, pack(jobs), {}, About("w@host", 1, "base64", events))


def do_nothing(jobs: list[Any]) -> None:
    """Be the function of a bulk task."""
