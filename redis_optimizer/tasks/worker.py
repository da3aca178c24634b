"""What a worker process does for itself."""

from typing import Any

from celery.signals import worker_init

from redis_optimizer.connections import PROFILES, Profile
from redis_optimizer.tasks.celery_internals import override
from redis_optimizer.tasks.unblock import Unblock

__all__ = ["prepare", "use_profile"]


@worker_init.connect(dispatch_uid="redis_optimizer.tasks.worker")
def prepare(sender: Any, **kwargs: Any) -> None:
    """Add our steps to those of the worker's app, before the worker is built of them.

    Args:
        sender: The worker.
        kwargs: Of the signal.
    """
    sender.app.steps["consumer"].add(Unblock)


def use_profile(conf: Any, profile: Profile) -> None:
    """Have a worker that is about to be built wait for jobs as a profile says.

    Args:
        conf: The configuration of its app.
        profile: The profile, which takes the place of that of the settings.
    """
    others = {name for known in PROFILES.values() for name in known.transport}
    options = conf.broker_transport_options or {}
    kept = {name: value for name, value in options.items() if name not in others}
    override(conf, "broker_transport_options", {**kept, **profile.transport})
    override(conf, "worker_consumer", profile.consumer)
    override(conf, "worker_enable_remote_control", profile.remote_control)
