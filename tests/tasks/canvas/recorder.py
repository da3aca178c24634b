"""One run of the table: a worker, a producer, a listener to events, and all that they saw."""

import contextlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import celery
import pytest
import redis

from redis_optimizer.embedded import HOST
from tests.servers import wait_until
from tests.tasks.processes import Site

TASKS = ("tests.tasks.site.canvas_record", "tests.tasks.site.canvas")
SETTINGS = {
    "CELERY_TASK_IGNORE_RESULT": False,
    "CELERY_RESULT_EXTENDED": True,
    "CELERY_ACCEPT_CONTENT": ["json", "pickle", "yaml", "msgpack", "application/x-shout"],
    "CELERY_TASK_SEND_SENT_EVENT": True,
    "CELERY_WORKER_PREFETCH_MULTIPLIER": 20,  # jobs that wait for their time are no obstacle
    "CANVAS_BASE": "",
    "CANVAS_OPTIONS": {},
    "CANVAS_BLOCK": False,
}
PRODUCE = "from tests.tasks.site import canvas_producer; canvas_producer.main(app)"
WORKER = ("-c", "4", "-E", "-Q", "celery,other")


@dataclass(frozen=True)
class Variant:
    """One way to run the table.

    Args:
        plain: Without redis_optimizer.
        scheme: Of the URL of the result backend.
        settings: Added to those of every run.
    """

    plain: bool = False
    scheme: str = "redis"
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Record:
    """What was seen in a run.

    Args:
        directory: Of its files.
        lines: Of the processes.
        events: Of the producer and the worker.
        pushes: Number of commands that clients sent to put messages into queues.
    """

    directory: str
    lines: list[dict[str, Any]]
    events: list[dict[str, Any]]
    pushes: int = 0


def make_site(directory: Path, port: int, variant: Variant, **settings: Any) -> Site:
    """Return the site of a variant."""
    chosen = {
        **SETTINGS,
        "CELERY_RESULT_BACKEND": f"{variant.scheme}://{HOST}:{port}/0",
        "CANVAS_RECORD": str(directory / "record.jsonl"),
        **variant.settings,
        **settings,
    }
    directory.mkdir(parents=True)
    return Site(directory, port, tasks=TASKS, settings=chosen)


def record(directory: Path, port: int, variant: Variant) -> Record:
    """Run the table with a worker and return what was seen."""
    site = make_site(directory, port, variant)
    with redis.Redis(HOST, port) as client:
        client.flushall()
    with pytest.MonkeyPatch.context() as patch, listen(port) as events, count(port) as pushes:
        patch.setenv("C_FORCE_ROOT", "1")  # a worker that takes pickle refuses to run as root
        with site.worker(*WORKER, plain=variant.plain) as worker:
            wait_until(lambda: events)
            site.produce(PRODUCE, plain=variant.plain)
            assert worker.stop() == 0, worker.log
            wait_until(lambda: events[-1]["type"] == "worker-offline")
    return Record(str(directory), read_lines(site), events, len(pushes))


def record_eager(directory: Path, port: int, variant: Variant) -> Record:
    """Run the table where jobs run in the caller's process."""
    site = make_site(directory, port, variant, CELERY_TASK_ALWAYS_EAGER=True)
    site.produce(PRODUCE, plain=variant.plain)
    return Record(str(directory), read_lines(site), [])


def read_lines(site: Site) -> list[dict[str, Any]]:
    """Return what the processes of a site have written."""
    text = Path(site.settings["CANVAS_RECORD"]).read_text()
    return [json.loads(line) for line in text.splitlines()]


@contextlib.contextmanager
def listen(port: int) -> Iterator[list[dict[str, Any]]]:
    """Yield the list to which every event is added as it arrives."""
    app = celery.Celery("listener", broker=f"redis://{HOST}:{port}/0", set_as_current=False)
    events: list[dict[str, Any]] = []
    with app.connection_for_read() as connection:
        receiver = app.events.Receiver(connection, handlers={"*": events.append})
        thread = threading.Thread(target=receiver.capture, kwargs={"wakeup": False}, daemon=True)
        thread.start()
        try:
            yield events
        finally:
            receiver.should_stop = True
            thread.join(60)


@contextlib.contextmanager
def count(port: int) -> Iterator[list[str]]:
    """Yield the list to which every LPUSH of a client is added, those of scripts are not."""
    pushes: list[str] = []
    with redis.Redis(HOST, port, decode_responses=True, socket_timeout=None) as client:
        monitor = client.monitor()

        def read() -> None:
            for line in monitor.listen():
                if line["command"] == "ECHO end":
                    return
                if line["command"].startswith("LPUSH ") and line["client_type"] != "lua":
                    pushes.append(line["command"])

        with monitor:
            thread = threading.Thread(target=read, daemon=True)
            thread.start()
            try:
                yield pushes
            finally:
                client.echo("end")
                thread.join(60)
