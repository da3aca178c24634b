"""What a site does with Redis, in one process: `test_commands` runs it, and counts beside it.

It prints what the process counted, and ends without another command.
"""

import json
import os
import sys

import django
from celery.contrib.testing.worker import start_worker
from django.core.cache import caches


def main() -> None:
    django.setup()
    from redis_optimizer.connections import sent
    from tests.tasks.site.app import app

    app.loader.import_default_modules()
    use_caches()
    with start_worker(app, pool="solo", perform_ping_check=False, shutdown_timeout=30):
        use_jobs()
    print(json.dumps(sent()))
    sys.stdout.flush()
    os._exit(0)


def use_caches() -> None:
    cache = caches["default"]
    assert cache.tier.wait_ready(10), cache.tier.channel.last_error
    for turn in range(3):
        cache.set_many({"a": turn, "b": 2})
        cache.get_many(["a", "b", "absent"])
        cache.incr("a")
        cache.get_or_set("c", lambda: 3)
        cache.add("a", 1)
        cache.delete("a")
    with cache.lock("alone"):
        list(cache.iter_keys("*"))
    cache.delete_pattern("c*")


def use_jobs() -> None:
    from redis_optimizer.tasks import batch
    from tests.tasks.site.budget import kept, plain, together

    with batch():
        results = [task.delay(n) for task in (kept, together) for n in range(5)]
    results += [plain.delay(n) for n in range(3)]
    for result in results:
        result.get(timeout=60)


if __name__ == "__main__":
    main()
