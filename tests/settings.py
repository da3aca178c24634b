"""The Django site that the tests run in; every process has a Redis server of its own."""

import os

from redis_optimizer.embedded import HOST, free_port

SECRET_KEY = "only-for-tests"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "redis_optimizer",
]

DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}

# Set by the `server` fixture for the processes that a test starts: they use that test's server.
REDIS_TEST_PORT = int(os.environ.get("REDIS_TEST_PORT") or free_port())
REDIS_TEST_URL = f"redis://{HOST}:{REDIS_TEST_PORT}/0"

CACHES = {
    "default": {
        "BACKEND": "redis_optimizer.cache.TieredCache",
        "LOCATION": REDIS_TEST_URL,
        "KEY_PREFIX": "t",
    },
    "plain": {
        "BACKEND": "django_redis.cache.RedisCache",
        "LOCATION": REDIS_TEST_URL,
        "KEY_PREFIX": "t",
    },
}
