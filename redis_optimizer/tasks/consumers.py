"""Consumers that say less: what ``--without-gossip`` and its like do, and longer waits for jobs.

``worker_consumer`` names one of them, so that a plain ``celery worker`` has them, too.
"""

from typing import Any, ClassVar, Final

from celery.worker.consumer import Consumer

from redis_optimizer.conf import get_settings
from redis_optimizer.tasks.kombu.producers import sweep_seldom
from redis_optimizer.tasks.unblock import Unblock

__all__ = ["QuietConsumer", "SilentConsumer"]

SWEEP: Final = 300.0  # seconds between two looks for bindings of queues that are gone


class QuietConsumer(Consumer):
    """Neither gossip with other workers nor greet them; send a heartbeat every 20 s.

    Gossip and mingle serve elections and clocks, which Celery itself does not need; monitors go by
    heartbeats. What the command line says is kept.
    """

    wait: ClassVar[float] = 4
    """Seconds to wait for jobs at a time. It is no delay: a job that comes ends the wait."""

    options: ClassVar[dict[str, Any]] = {
        "without_gossip": True,
        "without_mingle": True,
        "heartbeat_interval": 20,
    }

    def __init__(self, on_task_request: Any, **kwargs: Any) -> None:
        # Even where redis_optimizer is not among the apps.
        kwargs["app"].steps["consumer"].add(Unblock)
        options = dict(kwargs.get("worker_options") or {})
        if get_settings().ENABLED:
            options |= {name: v for name, v in self.options.items() if not options.get(name)}
        super().__init__(on_task_request, **{**kwargs, "worker_options": options})


class SilentConsumer(QuietConsumer):
    """Send no heartbeat either: to monitors the worker is offline."""

    wait: ClassVar[float] = 60
    options: ClassVar[dict[str, Any]] = {
        "without_gossip": True,
        "without_mingle": True,
        "without_heartbeat": True,
    }

    def __init__(self, on_task_request: Any, **kwargs: Any) -> None:
        if get_settings().ENABLED:
            sweep_seldom(SWEEP)
        super().__init__(on_task_request, **kwargs)
