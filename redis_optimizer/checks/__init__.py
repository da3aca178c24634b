"""System checks: each likely mis-installation has an id, and a hint that says how to mend it."""

from redis_optimizer.checks.caches import check_caches, check_settings

__all__ = ["check_caches", "check_settings"]
