"""The views of the site, its URLs, and what gunicorn serves."""

import functools
import os
import time

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.soak.site.settings")

import django
from django.core.cache import caches
from django.core.wsgi import get_wsgi_application
from django.http import JsonResponse
from django.urls import include, path

django.setup()

from tests.soak.site import app  # noqa: E402  # needs Django

ALIASES = ("default", "pages")


def told(view):
    """Say by its name what a view raises."""

    @functools.wraps(view)
    def answer(request, **parts):
        try:
            return JsonResponse(view(**parts))
        except Exception as error:
            return JsonResponse({"error": type(error).__name__}, status=503)

    return answer


@told
def read(alias, count):
    """Read so many versions, half of them one by one and half together."""
    cache, half = caches[alias], count // 2
    seen, errors = {}, []
    for number in range(half):
        try:
            seen[number] = cache.get(f"k{number}")
        except Exception as error:
            errors.append(type(error).__name__)
    try:
        found = cache.get_many([f"k{number}" for number in range(half, count)])
    except Exception as error:
        errors.append(type(error).__name__)
    else:
        seen |= {int(key[1:]): version for key, version in found.items()}
    return {"seen": seen, "errors": errors, "pid": os.getpid()}


@told
def write(alias, key, version):
    """Write a version of a key."""
    caches[alias].set(f"k{key}", version)
    return {}


@told
def load(key):
    """Return what one process of all may make."""

    def make():
        time.sleep(0.02)
        return time.monotonic()

    return {"loaded": caches["default"].get_or_set(f"load{key}", make, 1)}


@told
def send(label):
    """Send two jobs."""
    app.batched.delay(f"{label}-batched")
    app.single.delay(f"{label}-single")
    return {}


@told
def call(key):
    """Call for jobs that may stand for others."""
    return {"once": app.once.delay(key).id, "throttled": app.throttled.delay(key).id}


urlpatterns = [
    path("read/<str:alias>/<int:count>/", read),
    path("write/<str:alias>/<int:key>/<int:version>/", write),
    path("load/<int:key>/", load),
    path("send/<str:label>/", send),
    path("call/<str:key>/", call),
    path("", include("redis_optimizer.urls")),
]
application = get_wsgi_application()
