"""Time a cached read and a cached page while Redis answers, is dead, and is frozen.

    python -m tests.benchmarks.outage [--seconds 8] [--rate 100] [--json]

TieredCache with STALE_IF_ERROR and BREAKER_AFTER takes turns with plain django-redis, which ignores
exceptions, so that its pages are made anew. Both wait for 1 s at most for an answer. "cpu" is what
the thread itself worked, whatever else the machine did meanwhile.
"""

import argparse
import json
import time
from collections.abc import Callable
from typing import Any

import django
from django.conf import settings
from django.core.cache import caches
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory
from django.views.decorators.cache import cache_page

from redis_optimizer.embedded import EmbeddedServer

TIMEOUT = 1  # seconds
MAKING = 0.005  # seconds that the page's queries would take
LAPSE = 4  # seconds after which the tier has noticed whatever happens
QUIET = "redis_optimizer", "redis_optimizer.channel"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=8, help="that each phase takes")
    parser.add_argument("--rate", type=float, default=100, help="reads, and pages, per second")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    with EmbeddedServer(persistent=True) as server:
        configure(server.url)
        figures = measure(server, arguments.seconds, arguments.rate)
    if arguments.json:
        print(json.dumps(figures))
        return
    columns = "".join(f" {name:>11}" for name in ("p50 ms", "p99 ms", "max ms", "cpu p99 ms"))
    print(f"{'':<14} {'Redis':<8} {'':<6} {'calls':>6}{columns}")
    for row in figures["rows"]:
        print(
            f"{row['cache']:<14} {row['redis']:<8} {row['what']:<6} {row['calls']:>6} "
            f"{row['p50_ms']:>11.3f} {row['p99_ms']:>11.3f} {row['max_ms']:>11.3f} "
            f"{row['cpu_p99_ms']:>11.3f}"
        )
    print()
    for name, seconds in figures["recovery_s"].items():
        print(f"{name:<40} {seconds:>8.3f} s")


def configure(url: str) -> None:
    options = {"SOCKET_TIMEOUT": TIMEOUT, "SOCKET_CONNECT_TIMEOUT": TIMEOUT}
    l1 = {"STALE_IF_ERROR": 600, "HEARTBEAT": 1, "MAX_STALENESS": 3, "START_AFTER": 0}
    settings.configure(
        REDIS_OPTIMIZER={"BREAKER_AFTER": 3},
        CACHES={
            "default": {
                "BACKEND": "redis_optimizer.cache.TieredCache",
                "LOCATION": url,
                "KEY_PREFIX": "ours",
                "OPTIONS": {**options, "L1": l1},
            },
            "plain": {
                "BACKEND": "django_redis.cache.RedisCache",
                "LOCATION": url,
                "KEY_PREFIX": "plain",
                "OPTIONS": {**options, "IGNORE_EXCEPTIONS": True},
            },
        },
        ALLOWED_HOSTS=["*"],
        USE_I18N=False,
        # What is lost is told of by the table.
        LOGGING={"version": 1, "loggers": {name: {"level": "ERROR"} for name in QUIET}},
    )
    django.setup()


def measure(server: EmbeddedServer, seconds: float, rate: float) -> dict[str, Any]:
    ours: Any = caches["default"]
    if not ours.tier.wait_ready(10):
        raise SystemExit("The tier did not become ready.")
    pages = {alias: cache_page(3600, cache=alias)(make_page) for alias in ("default", "plain")}
    for alias in pages:
        caches[alias].set("key", list(range(100)), 3600)
    rows: list[dict[str, Any]] = []
    recovery: dict[str, float] = {}

    def phase(redis: str) -> None:
        for alias, name in (("default", "TieredCache"), ("plain", "django-redis")):
            times = load(alias, pages[alias], seconds, rate)
            rows.extend({"cache": name, "redis": redis, **row} for row in times)

    phase("answers")
    for state, begin, end in (
        ("killed", server.kill, server.restart),
        ("frozen", server.freeze, server.thaw),
    ):
        begin()
        time.sleep(LAPSE)
        phase(state)
        end()
        began = time.perf_counter()
        for name, alias in (("TieredCache", "default"), ("django-redis", "plain")):
            wait(lambda alias=alias: caches[alias].set("probe", 1))
            recovery[f"{state}, until {name} writes"] = time.perf_counter() - began
        wait(lambda: ours.tier.ready)
        recovery[f"{state}, until the tier keeps values"] = time.perf_counter() - began
    return {"rows": rows, "recovery_s": recovery}


def make_page(request: HttpRequest) -> HttpResponse:
    time.sleep(MAKING)
    return HttpResponse("x" * 10_000)


def load(
    alias: str, page: Callable[[HttpRequest], Any], seconds: float, rate: float
) -> list[dict[str, Any]]:
    """Read a key and ask for a page, so many times a second."""
    cache, requests = caches[alias], RequestFactory()
    times: dict[str, list[float]] = {"read": [], "page": []}
    worked: dict[str, list[float]] = {"read": [], "page": []}
    due = time.perf_counter()
    ends = due + seconds
    while (now := time.perf_counter()) < ends:
        if now < due:
            time.sleep(due - now)
        # After a call that waited, those that are late are left out, not made one upon the other:
        # a thread that never sleeps is sent away by the scheduler, whatever the cache does.
        due = max(due, now) + 1 / rate
        for what, call in (
            ("read", lambda: cache.get("key")),
            ("page", lambda: page(requests.get("/page"))),
        ):
            at, cpu = time.perf_counter(), time.thread_time()
            call()
            worked[what].append(time.thread_time() - cpu)
            times[what].append(time.perf_counter() - at)
    return [
        {
            "what": what,
            "calls": len(taken),
            "p50_ms": quantile(taken, 0.5),
            "p99_ms": quantile(taken, 0.99),
            "max_ms": max(taken) * 1000,
            "cpu_p99_ms": quantile(worked[what], 0.99),
        }
        for what, taken in times.items()
    ]


def quantile(taken: list[float], share: float) -> float:
    return sorted(taken)[min(int(len(taken) * share), len(taken) - 1)] * 1000


def wait(so: Callable[[], Any]) -> None:
    while True:
        try:
            if so():
                return
        except Exception:
            pass
        time.sleep(0.001)


if __name__ == "__main__":
    main()
