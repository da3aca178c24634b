"""Time a request for a trivial view with the middleware beside one without, in one run.

python -m tests.benchmarks.middleware [--json]

Timed is the processor, over Django's whole handling: from the request to the closed response, and
no server.
"""

import argparse
import asyncio
import json
import platform
import sys
import time
from collections.abc import Callable
from typing import Any

import django
from django.conf import settings
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpRequest, HttpResponse
from django.test import AsyncRequestFactory, RequestFactory, override_settings
from django.urls import include, path

REQUESTS = 200
ROUNDS = 100
MIDDLEWARE = "redis_optimizer.middleware.RedisOptimizerMiddleware"

Round = Callable[[], float]


def view(request: HttpRequest) -> HttpResponse:
    return HttpResponse("done")


async def aview(request: HttpRequest) -> HttpResponse:
    return HttpResponse("done")


urlpatterns: list[Any] = [
    path("sync/", view),
    path("async/", aview),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    settings.configure(
        ALLOWED_HOSTS=["*"],
        ROOT_URLCONF=__name__,
        CACHES={
            "default": {
                "BACKEND": "redis_optimizer.cache.TieredCache",
                "LOCATION": "redis://127.0.0.1:1/0",  # nothing is sent
            }
        },
    )
    django.setup()
    urlpatterns.append(path("", include("redis_optimizer.urls")))  # which reads the settings
    rows = measure()
    if arguments.json:
        print(json.dumps({"python": platform.python_version(), "rows": rows}))
        return
    print(f"Python {platform.python_version()}, Django {django.__version__}; us per request, best")
    print(f"of {ROUNDS} rounds of {REQUESTS:,}, the two sites taking turns.\n")
    print(f"{'view':<7} {'request':<28} {'without':>8} {'with':>8} {'added':>7} {'ratio':>7}")
    for row in rows:
        print(
            f"{row['view']:<7} {row['request']:<28} {row['without_us']:>8.1f} "
            f"{row['with_us']:>8.1f} {row['added_us']:>7.1f} {row['ratio']:>6.2f}x"
        )


def measure() -> list[dict[str, Any]]:
    rows = []
    for celery in (False, True):
        if celery:
            import_celery()
        for session in (False, True):
            name = f"{'Celery' if celery else 'no Celery'}, {'session' if session else 'anonymous'}"
            for kind, rounds in (("sync", sync_round), ("async", async_round)):
                rows.append(row(kind, name, rounds, session))
    rows.append(row("sync", "live/", lambda *args: sync_round(*args, path="/live/"), False))
    return rows


def row(kind: str, name: str, make: Callable[[bool], Round], session: bool) -> dict[str, Any]:
    sites = {}
    for site, middleware in (("without", []), ("with", [MIDDLEWARE])):
        with override_settings(MIDDLEWARE=middleware):
            sites[site] = make(session)
    best = dict.fromkeys(sites, float("inf"))
    for _ in range(ROUNDS):
        for site, run in sites.items():
            best[site] = min(best[site], run() / REQUESTS * 1e6)
    return {
        "view": kind,
        "request": name,
        "without_us": best["without"],
        "with_us": best["with"],
        "added_us": best["with"] - best["without"],
        "ratio": best["with"] / best["without"],
    }


def sync_round(session: bool, path: str = "/sync/") -> Round:
    handler = WSGIHandler()
    factory = RequestFactory()
    factory.cookies.load(cookies(session))

    def run() -> float:
        requests = [factory.get(path) for _ in range(REQUESTS)]
        began = time.process_time()
        for request in requests:
            handler.get_response(request).close()
        return time.process_time() - began

    return run


def async_round(session: bool) -> Round:
    handler = ASGIHandler()
    factory = AsyncRequestFactory()
    factory.cookies.load(cookies(session))

    async def serve() -> float:
        requests = [factory.get("/async/") for _ in range(REQUESTS)]
        began = time.process_time()
        for request in requests:
            (await handler.get_response_async(request)).close()
        return time.process_time() - began

    return lambda: asyncio.run(serve())


def cookies(session: bool) -> dict[str, str]:
    # Those of somebody who has logged in, and is not known to be staff.
    return {"sessionid": "3v8h1c0z"} if session else {}


def import_celery() -> None:
    from celery import Celery

    Celery("site", broker="redis://127.0.0.1:1/0", set_as_current=True)
    assert "celery" in sys.modules


if __name__ == "__main__":
    main()
