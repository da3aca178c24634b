"""The producer of a canvas run: runs every case of the table and reads what became of its jobs.

Imported where Django and the Celery app are set up.
"""

import contextlib
import sys
import time

import redis
from celery.result import AsyncResult, GroupResult
from django.conf import settings

from tests.tasks.canvas import table
from tests.tasks.site import canvas_record

QUIET = 0.3  # seconds without a new line or a waiting message
PATIENCE = 60  # seconds until the jobs must have ended
ENDS = ("task_postrun", "task_revoked", "task_unknown")


class Run:
    """What a case sends, and what it learns of it at once.

    Args:
        case: its name, with which the labels of its jobs begin.
    """

    def __init__(self, case):
        self.case = case
        self.results = {}

    def name(self, label, result):
        """Give a job, or a tree of jobs, a name that is the same in every run."""
        if result.id not in self.results.values():
            self.results[label] = result.id
            canvas_record.write("label", result.id, label=f"{self.case}:{label}")
        for index, child in enumerate(result.results if isinstance(result, GroupResult) else ()):
            self.name(f"{label}[{index}]", child)
        if result.parent is not None:
            self.name(f"{label}<", result.parent)
        return result

    def note(self, key, value):
        """Keep what the caller saw."""
        canvas_record.write("note", self.case, key=key, value=value)

    def attempt(self, key, call, *args, **kwargs):
        """Keep what a call returns or raises."""
        try:
            self.note(key, call(*args, **kwargs))
        except Exception as error:
            self.note(key, [type(error).__name__, str(error)])

    def wait(self, result, event):
        """Wait until an event of a job has been recorded."""
        _ = result.state  # whoever asks for a job does not want it buffered any longer
        canvas_record.wait(lambda: canvas_record.count(result.id, event))


def produce(cases, block):
    """Run the cases and return their results."""
    found = []
    for case in cases:
        run, canvas_record.case = Run(case.__name__), case.__name__
        with block():
            case(run)
        found.append(run)
    canvas_record.case = None
    return found


def is_quiet(client):
    """Return whether no message waits and every job that was sent has ended.

    A job ends as often as it is sent. Each job that jobs send is sent before its sender has ended.
    Of one whose child is killed at a time limit the main process tells: the child has 0.1 s for it.
    """
    if client.hlen("unacked") or any(
        not key.startswith(b"redis_optimizer:") for key in client.scan_iter(_type="list")
    ):
        return False
    open_ = {}
    for line in canvas_record.read():
        if line["event"] == "after_task_publish":
            open_[line["id"]] = open_.get(line["id"], 0) + 1
        elif line["event"] in ENDS or (line["event"] == "task_failure" and line["role"] == "main"):
            open_[line["id"]] = open_.get(line["id"], 0) - 1
    return all(count <= 0 for count in open_.values())


def wait_quiet():
    """Wait until nothing happens any more."""
    with contextlib.closing(redis.Redis.from_url(settings.CELERY_BROKER_URL)) as client:
        deadline, since, seen = time.monotonic() + PATIENCE, time.monotonic(), -1
        while time.monotonic() - since < QUIET:
            lines = len(canvas_record.read())
            if lines != seen or not is_quiet(client):
                seen, since = lines, time.monotonic()
            if time.monotonic() > deadline:
                sys.exit("Jobs still wait.")
            time.sleep(0.05)


def read_outcomes(app):
    """Keep what the backend holds of every job."""
    for id in sorted({line["id"] for line in canvas_record.read() if line["event"] != "note"}):
        result = AsyncResult(id, app=app)
        meta = dict(result.backend.get_task_meta(id))
        # Celery makes results of them in place; who comes first gets what it makes them of.
        meta["children"] = [getattr(c, "id", None) or c[0][0] for c in result.children or ()]
        canvas_record.write("outcome", id, meta=meta)


def main(app):
    """Run the table."""
    block = contextlib.nullcontext
    if settings.CANVAS_BLOCK:
        from redis_optimizer.tasks import batch as block  # a plain site has none
    eager = app.conf.task_always_eager
    produce([case for case in table.cases() if case.eager or not eager], block)
    if not eager:
        wait_quiet()
        read_outcomes(app)
