"""One process of a benchmark: `python -m redis_optimizer.management.benchmark.cache.worker`.

It talks JSON, one object a line. To the order on stdin it answers with a note once it is connected;
to "go" with the number of requests done, again and again, and with the result at last. The end of
stdin ends it.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any, TypedDict

from redis_optimizer.management.benchmark.cache.plan import Request
from redis_optimizer.management.benchmark.cache.staleness import Read, Write

TIMEOUT = 3600  # seconds that keys stay in Redis if a benchmark is killed before it removes them
READY_TIMEOUT = 10.0  # seconds for the channel to connect
REPORT_EVERY = 0.25  # seconds


class Order(TypedDict):
    """What a worker has to do."""

    cache: dict[str, Any]  # CACHES["default"]
    keys: list[str]
    requests: Sequence[tuple[int, int, bool]]
    threads: int
    body: str  # what every value carries beside its version


class Log:
    """What one thread did."""

    def __init__(self) -> None:
        self.reads: list[Read] = []
        self.writes: list[Write] = []
        self.done = 0


def replay(requests: list[Request], keys: list[str], body: str, log: Log) -> None:
    """Send requests to the default cache, one after the other, as fast as it answers."""
    from django.core.cache import caches

    cache = caches["default"]
    # One clock for all processes of a machine: starts and acks are compared across them.
    clock = time.perf_counter

    def write(number: int, key: int) -> None:
        started = clock()
        cache.set(keys[key], {"version": number, "body": body}, TIMEOUT)
        log.writes.append(Write(key, number, started, clock()))

    for number, key, is_write in requests:
        if is_write:
            write(number, key)
        else:
            started = clock()
            value = cache.get(keys[key])
            latency = clock() - started
            log.reads.append(Read(key, value and value["version"], started, latency))
            if value is None:
                write(number, key)  # as a site does: compute what is not there, and keep it
        log.done += 1


def connect(threads: int) -> str:
    """Open what the run needs, so that it counts requests alone; tell why L1 is not in full use."""
    from django.core.cache import cache
    from django_redis import get_redis_connection

    try:
        pool = get_redis_connection("default").connection_pool
    except NotImplementedError:  # by which django-redis tells that the backend is not its own
        cache.get("anything")
        return ""
    with ExitStack() as taken:
        for _ in range(threads):
            connection = pool.get_connection()
            taken.callback(pool.release, connection)
    tier = getattr(cache, "tier", None)  # plain django-redis has none
    if tier is not None and not tier.wait_ready(READY_TIMEOUT):
        return f"L1 was not ready within {READY_TIMEOUT:g} s"
    refused: str = tier.refused if tier is not None else ""
    return f"L1 kept values for seconds only: {refused}" if refused else ""


def configure(cache: dict[str, Any]) -> None:
    """Set Django up with this one cache, whatever settings the site has."""
    import django
    from django.conf import settings

    settings.configure(CACHES={"default": cache}, INSTALLED_APPS=["redis_optimizer"], USE_TZ=True)
    django.setup()


def send(**message: object) -> None:
    """Write one line to the parent."""
    print(json.dumps(message), flush=True)


def run(order: Order) -> dict[str, object]:
    """Replay the order's requests over its threads and return what they saw."""
    requests = [Request(*request) for request in order["requests"]]
    logs = [Log() for _ in range(order["threads"])]
    threads = [
        threading.Thread(
            target=replay, args=(requests[n :: len(logs)], order["keys"], order["body"], log)
        )
        for n, log in enumerate(logs)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        while thread.is_alive():
            thread.join(REPORT_EVERY)
            send(done=sum(log.done for log in logs))
    if sum(log.done for log in logs) < len(requests):
        raise SystemExit("A thread failed; its traceback is above.")
    return {
        "reads": [read for log in logs for read in log.reads],
        "writes": [write for log in logs for write in log.writes],
    }


def main() -> None:
    """Take one order from stdin, and carry it out when told to."""
    order: Order = json.loads(sys.stdin.readline())
    configure(order["cache"])
    send(note=connect(order["threads"]))
    if not sys.stdin.readline():
        return
    send(result=run(order))
    sys.stdin.readline()  # keep the connections until the parent has asked the server


if __name__ == "__main__":
    main()
