"""The checks that come with the package. None of them needs Celery or psutil to be imported."""

from redis_optimizer.health.checks.celery import Broker, Workers
from redis_optimizer.health.checks.database import Database, Migrations
from redis_optimizer.health.checks.redis import Redis
from redis_optimizer.health.checks.system import Disk, Memory
from redis_optimizer.health.checks.tier import CacheTier

__all__ = [
    "Broker",
    "CacheTier",
    "Database",
    "Disk",
    "Memory",
    "Migrations",
    "Redis",
    "Workers",
]
