"""The Django site that the suites run in, with a server and Django's test app `cache`."""

import atexit
import sys
from contextlib import ExitStack
from typing import Any

import sources

from redis_optimizer.embedded import EmbeddedServer

_server = ExitStack()
atexit.register(_server.close)
REDIS_TEST_URL = _server.enter_context(EmbeddedServer()).url

# At the end: its modules have common names, and nothing that is installed may give way to them.
sys.path.append(str(sources.django_tests()))
# Here, too, because this runs in pytest-xdist's main process before the others begin.
sources.django_redis_tests()

SECRET_KEY = "only-for-tests"
USE_TZ = False
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "redis_optimizer",
    "cache",
]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
BACKEND = "redis_optimizer.cache.TieredCache"
CACHE_HERD_TIMEOUT = 2


def caches(options: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return CACHES with the aliases that django-redis's tests expect."""
    twice = [REDIS_TEST_URL, REDIS_TEST_URL]
    settings = {
        "default": {"LOCATION": twice},
        "doesnotexist": {"LOCATION": "redis://127.0.0.1:1?db=1"},
        "sample": {"LOCATION": twice},
        "with_prefix": {"LOCATION": REDIS_TEST_URL, "KEY_PREFIX": "test-prefix"},
    }
    return {
        alias: {
            "BACKEND": BACKEND,
            "OPTIONS": options,
            **rest,
        }
        for alias, rest in settings.items()
    }


CACHES = caches({})
