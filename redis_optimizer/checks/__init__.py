"""System checks: each likely mis-installation has an id, and a hint that says how to mend it."""

from redis_optimizer.checks.caches import check_caches, check_settings
from redis_optimizer.checks.health import check_health, check_middleware, check_urls
from redis_optimizer.checks.sessions import check_sessions

__all__ = [
    "check_caches",
    "check_health",
    "check_middleware",
    "check_sessions",
    "check_settings",
    "check_urls",
]
