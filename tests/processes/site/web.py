"""The pages: one from the cache, one that writes to it, some that send a job."""

import os
import threading
import time
from pathlib import Path

from django.core.cache import cache
from django.http import JsonResponse
from django.urls import path

from tests.processes.site.jobs import KEY, batched, buffered


def _hits():
    return cache.tier.hits if hasattr(cache, "tier") else 0


def _answer(value, hits=None):
    return JsonResponse(
        {
            "pid": os.getpid(),
            "value": value,
            "kept": hits is not None and _hits() > hits,
            "threads": sorted(
                each.name for each in threading.enumerate() if "redis_optimizer" in each.name
            ),
        }
    )


def page(request):
    """Say what the cache says."""
    hits = _hits()
    return _answer(cache.get(KEY), hits)


async def async_page(request):
    """Say what the cache says, in the event loop."""
    hits = _hits()
    return _answer(await cache.aget(KEY), hits)


def write(request, value):
    """Change it."""
    cache.set(KEY, value)
    return _answer(value)


def send(request, label):
    """Send a job that waits until this process ends."""
    buffered.delay(label)
    return _answer(None)


def send_soon(request, label):
    """Send a job that waits for a moment."""
    batched.delay(label)
    return _answer(None)


def send_slowly(request, label):
    """Send a job that waits until this process ends, and do not end before there is a file."""
    buffered.delay(label)
    gate = Path(request.GET["gate"])
    gate.with_suffix(".reached").touch()
    while not gate.exists():
        time.sleep(0.01)
    return _answer(None)


urlpatterns = [
    path("page/", page),
    path("async-page/", async_page),
    path("write/<str:value>/", write),
    path("send/<str:label>/", send),
    path("send-soon/<str:label>/", send_soon),
    path("send-slowly/<str:label>/", send_slowly),
]
