"""Celery jobs on fewer Redis commands."""

from redis_optimizer.tasks.base import BatchTask, DedupTask, OptimizedTask
from redis_optimizer.tasks.block import batch
from redis_optimizer.tasks.bulk import Job
from redis_optimizer.tasks.figures import batch_stats

__all__ = ["BatchTask", "DedupTask", "Job", "OptimizedTask", "batch", "batch_stats"]
