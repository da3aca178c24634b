"""A producer with traffic, and its tasks: what goes on while parts are switched off and on."""

import contextlib
import json
import sys
import threading
import time
from collections import deque

from celery import shared_task

from redis_optimizer.tasks import OptimizedTask, batch
from tests.tasks.site import runs

BOUND = 1.2  # seconds: MAX_STALENESS of the test's settings


@shared_task(bind=True, base=OptimizedTask, batch_size=20, batch_timeout=0.1, ignore_result=False)
def note(self, number):
    runs.record(self.request.id)
    return number


@shared_task(bind=True, base=OptimizedTask, dedup="until_executed", dedup_ttl=600)
def once(self, number):
    runs.record(self.request.id)


class Traffic:
    """Reads a cache and calls tasks until it is told to stop."""

    def __init__(self):
        self.done = threading.Event()
        self.sent = []
        self.errors = []
        self.reads = self.stale = 0

    def read(self):
        from django.core.cache import caches

        tiered, plain = caches["default"], caches["plain"]
        seen = deque()  # when something was in Redis, and what
        least = 0
        while not self.done.is_set():
            with self.noting():
                seen.append((time.monotonic(), plain.get("n")))
                for _ in range(20):
                    began = time.monotonic()
                    value = tiered.get("n")
                    self.reads += 1
                    while seen and seen[0][0] < began - BOUND:
                        least = seen.popleft()[1]
                    self.stale += value < least
                time.sleep(0.02)

    def call(self):
        number = 0
        while not self.done.is_set():
            with self.noting():
                number += 1
                self.sent.append(note.delay(number).id)
                with batch():
                    self.sent += [once.delay(number % 3).id, note.delay(number).id]
                time.sleep(0.1)

    @contextlib.contextmanager
    def noting(self):
        try:
            yield
        except Exception as error:
            self.errors.append(repr(error))


def main():
    """Go on until a line comes, and say what happened."""
    traffic = Traffic()
    threads = [threading.Thread(target=act) for act in (traffic.read, traffic.call)]
    for thread in threads:
        thread.start()
    print("ready", flush=True)
    sys.stdin.readline()
    traffic.done.set()
    for thread in threads:
        thread.join()
    names = ("sent", "errors", "reads", "stale")
    print(json.dumps({name: getattr(traffic, name) for name in names}), flush=True)
