"""Result backends that send one command for a result and keep the last few of each task.

Named in ``result_backend``::

    redis_optimizer.tasks.results:RedisBackend+redis://host:6379/0
    redis_optimizer.tasks.results:SentinelBackend+sentinel://host:26379;sentinel://other:26379
    redis_optimizer.tasks.results:DatabaseBackend

What stands after the "+" is the URL as Celery takes it: also ``rediss://`` and ``socket://``.
"""

from typing import TYPE_CHECKING, Any

from redis_optimizer.tasks.results.redis import RedisBackend, SentinelBackend

if TYPE_CHECKING:
    from redis_optimizer.tasks.results.database import DatabaseBackend

__all__ = ["DatabaseBackend", "RedisBackend", "SentinelBackend"]


def __getattr__(name: str) -> Any:
    # Its models can be imported only where django_celery_results is an installed app.
    if name == "DatabaseBackend":
        from redis_optimizer.tasks.results.database import DatabaseBackend

        return DatabaseBackend
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
