"""Django's settings of a site of the benchmark."""

from __future__ import annotations

from typing import Any

from redis_optimizer.management.benchmark.jobs.order import read_order

ORDER = read_order()

SECRET_KEY = "of-a-site-that-nobody-visits"  # noqa: S105
USE_TZ = True
INSTALLED_APPS: list[str] = []
CACHES: dict[str, dict[str, Any]] = {
    "default": {
        "BACKEND": "django_redis.cache.RedisCache",
        "LOCATION": ORDER.url,
        "KEY_PREFIX": "benchmark",
    }
}
if ORDER.plain:
    CELERY_BROKER_URL = ORDER.url
    CELERY_RESULT_BACKEND = ORDER.url
else:
    from redis_optimizer.connections import cache_options, celery_settings

    INSTALLED_APPS += ["redis_optimizer"]
    CACHES["default"]["BACKEND"] = "redis_optimizer.cache.TieredCache"
    CACHES["default"]["OPTIONS"] = cache_options(ORDER.url)
    globals().update(celery_settings(ORDER.url, profile=ORDER.profile))
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
