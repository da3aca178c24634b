"""A process that sends jobs: `python -m redis_optimizer.management.benchmark.jobs.producer`.

It talks JSON, one object a line, and answers each line of stdin; the end of stdin ends it.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

RESULT = 60.0  # seconds to wait for a result


def main() -> None:
    """Carry out what stdin says until it ends."""
    import django

    django.setup()
    from redis_optimizer.management.benchmark.jobs.app import app

    app.loader.import_default_modules()
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        send = WAYS[order.pop("how")]
        started = time.monotonic()
        send(app, **order)
        print(json.dumps({"started": started, "ended": time.monotonic()}), flush=True)


def call(app: Any, task: str, numbers: list[int], queue: str | None = None) -> None:
    """Send a job for each number; nobody keeps the AsyncResult."""
    send = app.tasks[task].apply_async
    for number in numbers:
        if queue is None:
            send((number,))
        else:
            send((number,), queue=queue)


def call_in_blocks(app: Any, task: str, numbers: list[int], size: int) -> None:
    """Send the jobs in blocks of `batch()`."""
    from redis_optimizer.tasks import batch

    for start in range(0, len(numbers), size):
        with batch():
            call(app, task, numbers[start : start + size])


def serve(app: Any, tasks: list[str], threads: int) -> None:
    """Do in several threads what requests do; the threads stay.

    Each reads and writes the cache, sends a job of every task, and waits for the results. They do
    each at the same time: what they hold would be a matter of chance otherwise.
    """
    from django.core.cache import cache

    met, done = threading.Barrier(threads), threading.Barrier(threads + 1)

    def request(number: int, met: threading.Barrier) -> None:
        met.wait(RESULT)
        cache.set(f"number-{number}", number)
        cache.get(f"number-{number}")
        for task in tasks:
            met.wait(RESULT)
            app.tasks[task].delay(number).get(timeout=RESULT)

    def answer(number: int) -> None:
        request(number, met)
        done.wait(RESULT)
        threading.Event().wait()

    # django-redis and Celery make pools too many where the very first calls come together.
    request(threads, threading.Barrier(1))
    for number in range(threads):
        threading.Thread(target=answer, args=(number,), daemon=True).start()
    done.wait(RESULT)


WAYS: dict[str, Callable[..., None]] = {"calls": call, "blocks": call_in_blocks, "web": serve}

if __name__ == "__main__":
    main()
