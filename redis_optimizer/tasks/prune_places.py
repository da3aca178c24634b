"""Where a site has results that can be trimmed."""

from collections.abc import Callable
from typing import Any, Final

import redis
from celery import Celery
from celery.backends.base import DisabledBackend
from celery.backends.redis import RedisBackend
from django.apps import apps
from django.db import Error

from redis_optimizer.tasks.prune import Report
from redis_optimizer.tasks.prune_redis import prune_redis

__all__ = ["NotTrimmed", "find_places"]

HINT: Final = (
    "Name one in CELERY_RESULT_BACKEND, and import the Celery app in the package of the project, "
    "as Celery's guide for Django says."
)


class NotTrimmed(Exception):
    """Results could not be reached, or their store refused."""


def find_places(app: Celery) -> list[Callable[..., Report]]:
    """Return a function for each place where results are.

    Each takes what `redis_optimizer.tasks.prune_redis.prune_redis` does, beside the backend, and
    raises `NotTrimmed`.

    Raises:
        LookupError: there is no place that can be trimmed.
        NotTrimmed: the database cannot be reached.
    """
    backend = app.backend
    places: list[Callable[..., Report]] = []
    if isinstance(backend, RedisBackend):
        places.append(lambda **arguments: _prune_redis(backend, arguments))
    if apps.is_installed("django_celery_results"):
        from redis_optimizer.tasks.prune_database import has_table

        try:
            if has_table():
                places.append(lambda **arguments: _prune_database(app, arguments))
        except Error as error:
            raise NotTrimmed(f"The database cannot be reached: {error}") from error
    if places:
        return places
    if isinstance(backend, DisabledBackend):
        raise LookupError(f"The site has no result backend. {HINT}")
    raise LookupError(
        f"Results in {type(backend).__name__} cannot be trimmed, only those in Celery's Redis "
        "backend and in django-celery-results."
    )


def _prune_redis(backend: Any, arguments: dict[str, Any]) -> Report:
    try:
        return prune_redis(backend, **arguments)
    except (redis.RedisError, OSError) as error:
        raise NotTrimmed(f"Results at {backend.as_uri()} cannot be trimmed: {error}") from error


def _prune_database(app: Celery, arguments: dict[str, Any]) -> Report:
    from redis_optimizer.tasks.prune_database import prune_database

    try:
        return prune_database(app, **arguments)
    except Error as error:
        raise NotTrimmed(f"Results in the database cannot be trimmed: {error}") from error
