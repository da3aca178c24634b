"""The site of one endpoint: `python -m tests.benchmarks.health.site KIND URL DATABASE`."""

import sys
from typing import Any

from tests.benchmarks.peers.answers import answer

KIND, URL, DATABASE = (*sys.argv[1:], *3 * [""])[:3]
HOST = "localhost"
PATHS = {"ours": "/health/", "django-health-check": "/health/?format=json", "watchman": "/health/"}
CHECKS = {  # of each, those of the cache and of a database
    "ours": ["redis_optimizer.health.checks.Redis", "redis_optimizer.health.checks.Database"],
    "django-health-check": ["health_check.checks.Cache", "health_check.checks.Database"],
    "watchman": ["watchman.checks.caches", "watchman.checks.databases"],
}
APPS = {"ours": ["redis_optimizer"], "django-health-check": ["health_check"], "watchman": []}


def configure() -> None:
    """Set Django up."""
    import django
    from django.conf import settings

    backend = "redis_optimizer.cache.TieredCache"
    if KIND != "ours":
        backend = "django_redis.cache.RedisCache"
    settings.configure(
        ALLOWED_HOSTS=[HOST],
        SECRET_KEY="of-a-site-that-nobody-visits",
        USE_TZ=True,
        INSTALLED_APPS=APPS[KIND],
        CACHES={"default": {"BACKEND": backend, "LOCATION": URL, "KEY_PREFIX": "health"}},
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": DATABASE}},
        REDIS_OPTIMIZER={"HEALTH_CHECKS": CHECKS["ours"]},
        WATCHMAN_CHECKS=CHECKS["watchman"],
    )
    django.setup()
    settings.ROOT_URLCONF = tuple(urls())


def urls() -> list[Any]:
    """Return the site's addresses."""
    from django.urls import include, path

    if KIND == "ours":
        return [path("", include("redis_optimizer.urls"))]
    if KIND == "watchman":
        from watchman.views import status

        return [path("health/", status)]
    from health_check.views import HealthCheckView

    return [path("health/", HealthCheckView.as_view(checks=CHECKS[KIND]))]


def main() -> None:
    """Make the site and answer."""
    configure()
    from redis_optimizer.management.benchmark.endpoints.worker import Site, counted_queries

    site = Site(HOST, "")

    def poll(times: int) -> dict[str, Any]:
        site.forget()
        for _ in range(times):
            site.ask(PATHS[KIND])
        return {
            "took": [seconds for seconds, _ in site.took[PATHS[KIND]]],
            "queries": site.queries,
            "statuses": dict(site.statuses[PATHS[KIND]]),
        }

    with counted_queries(site):
        answer({"poll": poll})


if __name__ == "__main__":
    main()
