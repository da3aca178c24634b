"""A site whose pages are polled: settings, URLs and views in one."""

from typing import Any

from django.core.cache import cache
from django.db import connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import include, path

from redis_optimizer.decorators import cached_status
from tests.settings import *  # noqa: F403

ALLOWED_HOSTS = ["polled.example"]
ROOT_URLCONF = __name__
SECURE_SSL_REDIRECT = True
MIDDLEWARE = [
    "redis_optimizer.middleware.RedisOptimizerMiddleware",
    "django.middleware.security.SecurityMiddleware",
]


def look() -> dict[str, Any]:
    """Cost one command and one query."""
    cache.set("looked", 1)
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    return {"fine": True}


@cached_status(vary=None)
def kept(request: HttpRequest) -> JsonResponse:
    """Look, now and then."""
    return JsonResponse(look())


@cached_status(ttl=600, vary=None)
def told(request: HttpRequest) -> JsonResponse:
    """Look, as rarely as the view itself says."""
    return JsonResponse(look())


def fresh(request: HttpRequest) -> JsonResponse:
    """Look for each request."""
    return JsonResponse(look())


def broken(request: HttpRequest) -> HttpResponse:
    """Do nothing well."""
    return HttpResponse(status=500)


urlpatterns = [
    path("kept/", kept),
    path("told/", told),
    path("fresh/", fresh),
    path("broken/", broken),
    # The middleware answers in its place.
    path("", include(([path("live/", broken, name="live")], "redis_optimizer"))),
]
