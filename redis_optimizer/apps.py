"""The Django app."""

import sys
from typing import Any, Final

from django.apps import AppConfig

CELERY_CHILD_BYTES: Final = 16 * 1024**2
"""What one alias may keep in a child of a Celery worker: there is one for each core."""


class RedisOptimizerConfig(AppConfig):
    """Register the system checks. Nothing here, or before the first read, touches the network."""

    name = "redis_optimizer"
    default_auto_field = "django.db.models.BigAutoField"
    verbose_name = "Redis optimizer"

    def ready(self) -> None:
        from redis_optimizer import (
            checks,  # noqa: F401  # registers them
            uwsgi,
        )
        from redis_optimizer.health import losses  # noqa: F401  # connects itself to signals

        uwsgi.prepare()
        if "celery" in sys.modules:  # as in every worker; a site without it need not load it
            from celery.signals import worker_process_init

            from redis_optimizer.checks import celery, tasks  # noqa: F401  # as above
            from redis_optimizer.conf import get_settings
            from redis_optimizer.tasks import (
                batching,
                bootstep,  # noqa: F401  # connects itself to each worker
                exits,
                noting,
                presence,  # noqa: F401  # connects itself to each worker
                strategy,  # noqa: F401  # registers the task of envelopes
                worker,  # noqa: F401  # connects itself to each worker
            )
            from redis_optimizer.tasks.kombu import producers

            if get_settings().ENABLED:
                producers.count_broker()
                noting.keep_what_is_taken()
            worker_process_init.connect(_keep_less, dispatch_uid="redis_optimizer")
            # Here, because a server's threads, which send jobs, may not.
            exits.watch_sigterm(batching.is_pending, batching.is_closing)


def _keep_less(**kwargs: Any) -> None:
    from redis_optimizer.cache import registry

    registry.limit_bytes(CELERY_CHILD_BYTES)
