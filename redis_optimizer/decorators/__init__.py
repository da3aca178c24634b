"""Decorators that keep what a view or a function returned."""

from redis_optimizer.decorators.functions import cached
from redis_optimizer.decorators.views import cached_health, cached_status

__all__ = ["cached", "cached_health", "cached_status"]
