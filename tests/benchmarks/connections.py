"""Count the connections of a web process whose threads cache, send jobs and read results.

The same process on Celery and django-redis as they come, and on ours, in one run. Ours has at most
18 connections on Celery 5.7; before it, each thread has a result backend of its own, and more.

python -m tests.benchmarks.connections [--threads 8] [--rounds 50] [--json]
"""

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from threading import Barrier, Thread
from typing import Any

from redis_optimizer.connections import cache_options, celery_settings
from redis_optimizer.embedded import HOST, EmbeddedServer
from tests.tasks.processes import ROOT, Site, Worker

MODULE = "tests.benchmarks.connections"
TASKS = "tests.tasks.site.quiet"
KINDS = ("plain", "ours")
LIMIT = 60  # seconds until a result must be there
NOTE = """
Ours has at most 18 connections on Celery 5.7. Before it, each thread has a result backend of its
own, and more connections. This is Celery {version}."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=50, help="of each thread")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    rows = {}
    with EmbeddedServer() as server, tempfile.TemporaryDirectory() as directory:
        for kind in KINDS:
            with worker(Path(directory), server.port, kind):
                rows[kind] = measure(server.url, kind, arguments.threads, arguments.rounds)
    if arguments.json:
        print(json.dumps(rows))
        return
    print(f"A web process with {arguments.threads} threads, {arguments.rounds} rounds each: cache,")
    print("send a job, wait for its result.\n")
    print(f"{'':<8}{'connections':>12}{'right results':>15}{'wrong':>7}")
    for kind, row in rows.items():
        print(f"{kind:<8}{row['connections']:>12}{row['right']:>15}{row['wrong']:>7}")
    print(NOTE.format(version=version("celery")))


def settings(url: str, kind: str) -> dict[str, Any]:
    """Return Django's settings of a web process or a worker."""
    if kind == "plain":
        cache: dict[str, Any] = {"BACKEND": "django_redis.cache.RedisCache"}
        celery = celery_settings(url, "default")
    else:
        cache = {"BACKEND": "redis_optimizer.cache.TieredCache", "OPTIONS": cache_options(url)}
        celery = celery_settings(url, "metered")
    return {"CACHES": {"default": {"LOCATION": url, "KEY_PREFIX": "web", **cache}}, **celery}


@contextmanager
def worker(directory: Path, port: int, kind: str) -> Iterator[Worker]:
    """Run the worker that does the jobs."""
    celery = settings(f"redis://{HOST}:{port}/0", kind)
    # Its keys are numbers, which JSON has not.
    celery["CELERY_BROKER_TRANSPORT_OPTIONS"].pop("socket_keepalive_options", None)
    del celery["CACHES"]
    site = Site(directory, port, tasks=[TASKS], settings=celery)
    with site.worker("-P", "threads", "-c", "4") as running:
        yield running


def measure(url: str, kind: str, threads: int, rounds: int) -> dict[str, int]:
    """Run a web process and return its connections, and its right and wrong results."""
    done = subprocess.run(
        [sys.executable, "-m", MODULE, "web", url, kind, str(threads), str(rounds)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=5 * LIMIT,
    )
    assert done.returncode == 0, done.stderr
    counted: dict[str, int] = json.loads(done.stdout)
    return counted


def web(url: str, kind: str, threads: int, rounds: int) -> None:
    """Be the web process."""
    import django
    from celery import Celery
    from django.conf import settings as django_settings
    from django.core.cache import caches

    django_settings.configure(
        INSTALLED_APPS=["redis_optimizer"] if kind == "ours" else [], **settings(url, kind)
    )
    django.setup()
    app = Celery("web")
    app.config_from_object("django.conf:settings", namespace="CELERY")
    app.set_default()  # for all threads
    # django-redis makes a pool too many where the very first requests come at the same moment.
    caches["default"].get("key")
    right: list[int] = []
    barrier = Barrier(threads)
    workers = [
        Thread(target=serve, args=(barrier, number, rounds, right), daemon=True)
        for number in range(threads)
    ]
    for thread in workers:
        thread.start()
    for thread in workers:
        thread.join(LIMIT * 4)
    port = int(url.rpartition(":")[2].partition("/")[0])
    counted = {
        "connections": connections_to(port),
        "right": len(right),
        "wrong": threads * rounds - len(right),
    }
    print(json.dumps(counted), flush=True)
    os._exit(0)  # what waits in vain is not waited for


def serve(barrier: Barrier, thread: int, rounds: int, right: list[int]) -> None:
    """Serve the requests of one thread, each begun by all threads at the same moment."""
    from django.core.cache import cache

    from tests.tasks.site.quiet import double

    for round_ in range(rounds):
        barrier.wait(LIMIT)
        number = thread * rounds + round_
        cache.set(f"key:{number}", number)
        for other in range(20):
            cache.get(f"key:{other}")
        result = double.delay(number).get(timeout=LIMIT)
        if result == 2 * number and cache.get(f"key:{number}") == number:
            right.append(number)


def connections_to(port: int) -> int:
    """Return how many of this process's sockets are connected to a port."""
    count = 0
    for name in os.listdir("/dev/fd"):
        try:
            with socket.socket(fileno=os.dup(int(name))) as sock:
                count += sock.getpeername()[1] == port
        except (OSError, IndexError):
            continue
    return count


if __name__ == "__main__":
    if sys.argv[1:2] == ["web"]:
        web(sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5]))
    else:
        main()
