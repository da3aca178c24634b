"""Settings of the site: one server for two caches, another for jobs."""

import os

from redis_optimizer.connections import celery_settings

HEARTBEAT = 1  # seconds
MAX_STALENESS = 3  # seconds
STALE_IF_ERROR = 10  # seconds, of the cache "pages"
VISIBILITY = 15  # seconds after which the broker delivers again what a lost worker held
DEDUP_TTL = 30  # seconds; more than VISIBILITY, as docs/jobs.rst asks for
THROTTLE = 2  # seconds

CACHE_URL = os.environ["SOAK_CACHE_URL"]
BROKER_URL = os.environ["SOAK_BROKER_URL"]

SECRET_KEY = "only-for-tests"
USE_TZ = True
ALLOWED_HOSTS = ["*"]
INSTALLED_APPS = ["redis_optimizer"]
MIDDLEWARE = ["redis_optimizer.middleware.RedisOptimizerMiddleware"]
ROOT_URLCONF = "tests.soak.site.web"
REDIS_OPTIMIZER = {"NAMESPACE": "soak", "BREAKER_AFTER": 3}


def _cache(name, **l1):
    return {
        "BACKEND": "redis_optimizer.cache.TieredCache",
        "LOCATION": CACHE_URL,
        "KEY_PREFIX": name,
        "TIMEOUT": 600,
        "OPTIONS": {
            "SOCKET_TIMEOUT": 1,
            "SOCKET_CONNECT_TIMEOUT": 1,
            "L1": {
                "HEARTBEAT": HEARTBEAT,
                "MAX_STALENESS": MAX_STALENESS,
                "START_AFTER": 0,
                **l1,
            },
        },
    }


CACHES = {
    "default": _cache("strict", SINGLE_FLIGHT="fleet"),
    "pages": _cache("pages", STALE_IF_ERROR=STALE_IF_ERROR),
}

globals().update(
    celery_settings(
        BROKER_URL,
        profile="metered",
        results=None,
        transport_options={
            "visibility_timeout": VISIBILITY,
            "unacked_restore_interval": 1,
            "unacked_restore_throttle": 1,
            "unacked_mutex_expire": 2,
        },
    )
)
CELERY_TASK_IGNORE_RESULT = True
CELERY_WORKER_HIJACK_ROOT_LOGGER = False

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "plain": {"format": "{asctime} {process} {levelname} {name}: {message}", "style": "{"}
    },
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "plain"}},
    "root": {"handlers": ["console"], "level": "WARNING"},
}
