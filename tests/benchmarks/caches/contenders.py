"""Who is compared, and how Django's settings name it."""

from dataclasses import dataclass
from typing import Any

TIERED = "redis_optimizer.cache.TieredCache"
ENTRIES = 1_000_000  # more than is ever kept here: nothing is thrown out while it is timed


@dataclass(frozen=True)
class Contender:
    """One cache.

    Args:
        title: for people.
        backend: Django's name of it; none for one that is not Django's.
        environment: the requirements that it needs; None is this environment.
        options: of Django's settings.
        tracked: whether redis-py's client-side caching is on, which needs Redis itself.
        shared: whether other processes see what it keeps.
    """

    title: str
    backend: str = ""
    environment: str | None = None
    options: tuple[tuple[str, Any], ...] = ()
    tracked: bool = False
    shared: bool = True


def tiered(title: str, exact: Any) -> Contender:
    level = {"EXACT_TTL": exact, "MAX_ENTRIES": ENTRIES, "MAX_BYTES": 1024**3}
    return Contender(title, TIERED, options=(("L1", level),))


DJANGO_REDIS = "django_redis.cache.RedisCache"
DJANGO = "django.core.cache.backends.redis.RedisCache"

CONTENDERS = {
    "tiered": tiered("TieredCache", "auto"),
    "tiered-get": tiered("TieredCache, EXACT_TTL False", False),
    "tiered-pttl": tiered("TieredCache, EXACT_TTL True", True),
    "django-redis": Contender("django-redis", DJANGO_REDIS),
    "django": Contender("Django's RedisCache", DJANGO),
    "locmem": Contender(
        "LocMemCache",
        "django.core.cache.backends.locmem.LocMemCache",
        options=(("MAX_ENTRIES", ENTRIES),),
        shared=False,
    ),
    "vcache": Contender(
        "django-vcache, client-side caching",
        "django_vcache.backend.ValkeyCache",
        environment="django-vcache",
        options=(("CLIENT_SIDE_CACHE", {"ENABLED": True, "MAX_SIZE": ENTRIES}),),
    ),
    "django-redis-csc": Contender("django-redis, client-side caching", DJANGO_REDIS, tracked=True),
    "django-csc": Contender("Django's RedisCache, client-side caching", DJANGO, tracked=True),
    "cashews": Contender("cashews, client-side caching", environment="cashews"),
}


def caches(contender: Contender, url: str) -> dict[str, Any]:
    """Return Django's CACHES of a contender on a server."""
    options: dict[str, Any] = dict(contender.options)
    if contender.tracked:
        from redis.cache import CacheConfig

        pool = {"protocol": 3, "cache_config": CacheConfig(max_size=ENTRIES)}
        options |= {"CONNECTION_POOL_KWARGS": pool} if contender.backend == DJANGO_REDIS else pool
    if contender.backend.startswith("django_vcache"):
        url = url.replace("redis://", "valkey://")  # the scheme that it knows
    settings = {"BACKEND": contender.backend, "OPTIONS": options, "KEY_PREFIX": "peers"}
    return {"default": settings | ({"LOCATION": url} if contender.shared else {})}
