"""What a worker process does for itself."""

from typing import Any

from celery.signals import worker_init

from redis_optimizer.tasks.unblock import Unblock

__all__ = ["prepare"]


@worker_init.connect(dispatch_uid="redis_optimizer.tasks.worker")
def prepare(sender: Any, **kwargs: Any) -> None:
    """Add our steps to those of the worker's app, before the worker is built of them.

    Args:
        sender: The worker.
        kwargs: Of the signal.
    """
    sender.app.steps["consumer"].add(Unblock)
