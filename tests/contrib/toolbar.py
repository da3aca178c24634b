"""A site with django-debug-toolbar, in a process of its own: its models need its app.

It prints what the panel kept of a few requests, as JSON: `python -m tests.contrib.toolbar URL`.
"""

import asyncio
import json
import re
import sys
from typing import Any

import django
from asgiref.sync import sync_to_async
from celery import Celery
from django.conf import settings
from django.core.cache import cache, caches
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient, Client, override_settings
from django.urls import path

OURS = "redis_optimizer.middleware.RedisOptimizerMiddleware"
TOOLBAR = "debug_toolbar.middleware.DebugToolbarMiddleware"
PANEL = "redis_optimizer.contrib.debug_toolbar.RedisOptimizerPanel"
CACHE = "debug_toolbar.panels.cache.CachePanel"
REQUESTS = 3  # of each kind: the toolbar leaves its methods on the caches

app = Celery("toolbar")
urlpatterns: list[Any] = []


def main(url: str) -> None:
    configure(url)
    site: Any = caches["default"]
    site.set("known", 1)  # before the process is told of writes, its own among them
    assert site.tier.wait_ready(10)
    found = {}
    for name, panels in (("alone", [PANEL]), ("first", [PANEL, CACHE]), ("last", [CACHE, PANEL])):
        for middleware in ([TOOLBAR], [OURS, TOOLBAR]):
            kind = f"{name}{', with our middleware' if OURS in middleware else ''}"
            with override_settings(DEBUG_TOOLBAR_PANELS=panels, MIDDLEWARE=middleware):
                found[kind] = list(map(row, ask("/view/")))
                found[f"{kind}, async"] = list(map(row, asyncio.run(aask("/aview/"))))
    print(json.dumps(found))


def configure(url: str) -> None:
    tiered = {
        "BACKEND": "redis_optimizer.cache.TieredCache",
        "LOCATION": url,
        "OPTIONS": {"L1": {"START_AFTER": 0}},
    }
    settings.configure(
        DEBUG=True,
        SECRET_KEY="toolbar",
        INTERNAL_IPS=["127.0.0.1"],
        ALLOWED_HOSTS=["*"],
        ROOT_URLCONF=__name__,
        STATIC_URL="static/",
        INSTALLED_APPS=["django.contrib.staticfiles", "debug_toolbar", "redis_optimizer"],
        TEMPLATES=[
            {"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}
        ],
        CACHES={
            "default": tiered | {"KEY_PREFIX": "a"},
            "off": tiered | {"KEY_PREFIX": "b", "OPTIONS": {"L1": {"ENABLED": False}}},
            "plain": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": url},
        },
        DEBUG_TOOLBAR_PANELS=[PANEL, CACHE],
        DEBUG_TOOLBAR_CONFIG={"IS_RUNNING_TESTS": False},
    )
    django.setup()
    app.conf.broker_url = url
    from debug_toolbar.toolbar import debug_toolbar_urls

    urlpatterns.extend([path("view/", view), path("aview/", aview), *debug_toolbar_urls()])


def work() -> None:
    from redis_optimizer.tasks import OptimizedTask

    @app.task(name="t.job", base=OptimizedTask, batch_size=100, batch_timeout=3600, shared=False)
    def job() -> None: ...

    assert cache.get("known") == 1
    assert cache.get("known") == 1
    cache.set("unknown", 1)
    caches["off"].get("known")
    caches["plain"].get("known")  # not ours: not seen
    job.delay()


def view(request: HttpRequest) -> HttpResponse:
    work()
    return HttpResponse("<html><body>done</body></html>")


async def aview(request: HttpRequest) -> HttpResponse:
    assert await cache.aget("known") == 1
    await sync_to_async(work)()
    return HttpResponse("<html><body>done</body></html>")


def ask(page: str) -> list[HttpResponse]:
    cache.get("known")
    return [Client().get(page) for _ in range(REQUESTS)]


async def aask(page: str) -> list[HttpResponse]:
    await cache.aget("known")
    return [await AsyncClient().get(page) for _ in range(REQUESTS)]


def row(response: HttpResponse) -> dict[str, Any]:
    """Return what each panel kept, and what the toolbar shows of ours."""
    from debug_toolbar.toolbar import StoredDebugToolbar

    identity = re.search(r'data-request-id="([^"]+)"', response.content.decode())
    assert identity, response.content
    stored = StoredDebugToolbar.from_store(identity[1])
    panels = {panel.panel_id: panel for panel in stored.panels}
    calls = panels["CachePanel"].get_stats()["calls"] if "CachePanel" in panels else None
    return {
        "ours": panels["RedisOptimizerPanel"].get_stats(),
        "page": panels["RedisOptimizerPanel"].content,
        "subtitle": panels["RedisOptimizerPanel"].nav_subtitle,
        "calls": calls and len(calls),
        "timing": response.headers["Server-Timing"],
    }


if __name__ == "__main__":
    main(sys.argv[1])
