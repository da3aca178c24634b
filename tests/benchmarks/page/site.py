"""The site of one page; its environment says which cache it has."""

import os

from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse
from django.urls import path

BACKENDS = {
    "plain": "django_redis.cache.RedisCache",
    "tiered": "redis_optimizer.cache.TieredCache",
    "none": "django.core.cache.backends.dummy.DummyCache",
}
KIND = os.environ.get("PAGE_KIND", "none")
URL = os.environ.get("PAGE_URL", "")
PARTS = [f"part-{number}" for number in range(5)]
TEXT = "<p>A part of the page that took a query or two to make.</p>" * 5  # of a part

SECRET_KEY = "of-a-site-that-nobody-visits"
ALLOWED_HOSTS = ["*"]
USE_TZ = True
ROOT_URLCONF = __name__
MIDDLEWARE = ["django.middleware.common.CommonMiddleware"]  # says how long an answer is
INSTALLED_APPS = ["redis_optimizer"] if KIND == "tiered" else []
CACHES = {"default": {"BACKEND": BACKENDS[KIND], "LOCATION": URL, "KEY_PREFIX": "page"}}


def page(request: HttpRequest) -> HttpResponse:
    """Show the parts, as they come from the cache."""
    from django.core.cache import cache

    parts = [cache.get(part) for part in PARTS]
    for place, part in enumerate(parts):
        if part is None:
            cache.set(PARTS[place], TEXT, 600)
            parts[place] = TEXT
    return HttpResponse("".join(parts))


def page_without(request: HttpRequest) -> HttpResponse:
    """Show the same without a cache."""
    return HttpResponse("".join([TEXT for _ in PARTS]))


urlpatterns = [path("", page_without if KIND == "none" else page)]


def make_application():
    """Return what gunicorn serves."""
    os.environ["DJANGO_SETTINGS_MODULE"] = __name__
    return get_wsgi_application()
