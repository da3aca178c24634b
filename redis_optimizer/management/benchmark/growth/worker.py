"""A process of the benchmark of growth: `python -m ...benchmark.growth.worker`.

It talks JSON, one object a line. It answers the order on stdin; the end of stdin ends it.
"""

from __future__ import annotations

import json
import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

CHUNK: Final = 1000  # keys in one round trip
READ: Final = 10_000  # reads of a round, in an order that no processor foresees
HOT: Final = 1000  # keys that are read all the time
ROUNDS: Final = 5
LIFETIME: Final = 3600  # seconds; nothing is to expire while it is measured
# Nor is a PING to be counted that happens to be due.
QUIET: Final = {
    "START_AFTER": 0,
    "MAX_AGE": LIFETIME,
    "MAX_STALENESS": LIFETIME,
    "HEARTBEAT": LIFETIME // 4,
}
READY: Final = 60.0  # seconds for a channel to be there
BATCH: Final = 100
PREFIX: Final = "growth"


def configure(url: str, **l1: Any) -> None:
    """Set Django up with one cache on a server, whatever settings the site has."""
    import django
    from django.conf import settings

    settings.configure(
        SECRET_KEY="of-a-site-that-nobody-visits",  # noqa: S106
        USE_TZ=True,
        INSTALLED_APPS=["redis_optimizer"],
        REDIS_OPTIMIZER={"NAMESPACE": "growth", "ENVELOPES": True},
        CACHES={
            "default": {
                "BACKEND": "redis_optimizer.cache.TieredCache",
                "LOCATION": url,
                "KEY_PREFIX": PREFIX,
                "OPTIONS": {"L1": {**QUIET, **l1}},
            }
        },
    )
    django.setup()


def connect() -> Any:
    """Return the cache, once its channel is there."""
    from django.core.cache import cache

    cache.get("anything")
    if not cache.tier.wait_ready(READY):  # type: ignore[attr-defined]
        raise SystemExit(f"The channel was not there within {READY:g} s.")
    return cache


def hits(order: dict[str, Any]) -> dict[str, float]:
    """Return the microseconds of a hit, and of a look into a dict with as many objects."""
    from django_redis.cache import RedisCache

    count: int = order["keys"]
    configure(order["url"], MAX_ENTRIES=2 * count, MAX_BYTES=2 * count * 1024)
    # Written by another client, before the channel is there: nothing is told, and all is kept.
    plain = RedisCache(order["url"], {"KEY_PREFIX": PREFIX})
    keys = [f"key-{number}" for number in range(count)]
    chunks = [keys[start : start + CHUNK] for start in range(0, count, CHUNK)]
    for chunk in chunks:
        plain.set_many(dict.fromkeys(chunk, 1), LIFETIME)
    cache = connect()
    for chunk in chunks:
        cache.get_many(chunk)
    chance = random.Random(1)  # noqa: S311
    hot = chance.choices(chance.sample(keys, HOT), k=READ)
    drawn = chance.choices(keys, k=READ)
    missed = cache.stats()["misses"]
    found = {"the same 1,000": timed(cache.get, hot), "any of them": timed(cache.get, drawn)}
    if cache.stats()["misses"] != missed:
        raise SystemExit("Some of the keys were not in L1.")
    objects = {f"{PREFIX}:1:{key}": [key] for key in keys}
    return {**found, "a dict, any": timed(lambda key: objects[f"{PREFIX}:1:{key}"][0], drawn)}


def timed(read: Callable[[str], object], keys: Sequence[str]) -> float:
    """Return the microseconds of a read, the median of some rounds."""
    rounds: list[float] = []
    for _ in range(ROUNDS):
        # What the processor worked: others may want it as well.
        started = time.thread_time()
        for key in keys:
            read(key)
        rounds.append((time.thread_time() - started) / len(keys) * 1e6)
    return statistics.median(rounds)


def jobs(order: dict[str, Any]) -> dict[str, float]:
    """Return the microseconds for a job, from the first call until all are at the broker."""
    configure(order["url"])
    from celery import Celery

    from redis_optimizer.connections import celery_settings
    from redis_optimizer.tasks import OptimizedTask
    from redis_optimizer.tasks.batching import flush_all

    app = Celery("growth", broker=order["url"])
    app.conf.update(celery_settings(order["url"], namespace=""))

    @app.task(base=OptimizedTask, batch_size=BATCH, acks_late=True, ignore_result=True)
    def note(number: int) -> None: ...

    for number in range(BATCH):  # connects
        note.delay(number)
    count: int = order["jobs"]
    delay = note.delay
    started = time.perf_counter()
    for number in range(count):
        delay(number)
    flush_all()
    return {"in batches": (time.perf_counter() - started) / count * 1e6}


def ask(order: dict[str, Any]) -> tuple[float, int]:
    """Return the seconds that all processes took to answer, and how many others did."""
    from redis_optimizer.stats.gather import gather

    started = time.perf_counter()
    found = gather()
    return time.perf_counter() - started, len(found.processes) - 1


def say(**message: object) -> None:
    """Write one line to the parent."""
    print(json.dumps(message), flush=True)


def main() -> None:
    """Do what the order says."""
    order = json.loads(sys.stdin.readline())
    case = order["case"]
    if case in ("hits", "jobs"):
        say(values=hits(order) if case == "hits" else jobs(order))
        return
    configure(order["url"])
    connect()
    say(ready=True)
    if sys.stdin.readline() and case == "ask":
        seconds, answered = ask(order)
        say(seconds=seconds, answered=answered)


if __name__ == "__main__":
    main()
