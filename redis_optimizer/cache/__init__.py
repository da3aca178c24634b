"""Cache backends: TieredCache in front of Redis, LocalCache for one process alone."""

from redis_optimizer.cache import counts  # noqa: F401  # registers itself with the statistics
from redis_optimizer.cache.local import LocalCache
from redis_optimizer.cache.outage import ServerUnavailable
from redis_optimizer.cache.tiered import TieredCache

__all__ = ["LocalCache", "ServerUnavailable", "TieredCache"]
