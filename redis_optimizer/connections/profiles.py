"""How much a worker that has nothing to do says to the broker."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from django.core.exceptions import ImproperlyConfigured

__all__ = ["PROFILES", "Profile", "find_profile"]


@dataclass(frozen=True, slots=True)
class Profile:
    """What differs between the ways in which a worker waits for jobs."""

    transport: Mapping[str, float] = field(default_factory=dict)
    """Options of kombu's Redis transport."""

    consumer: str = "celery.worker.consumer:Consumer"
    """What `worker_consumer` names: how long the worker waits for jobs, gossip and heartbeats.

    The wait is not ``polling_interval``, an option of every connection: where a process has asked
    workers something, it would hear no other answer before that time is over.
    """

    remote_control: bool = True
    """Whether ``celery inspect`` and ``celery control`` reach the worker."""


BALANCED: Final = {"health_check_interval": 60}
METERED: Final = {
    "health_check_interval": 180,  # seconds between PINGs on the connection of remote control
    # The look for messages that a lost worker left takes four commands. They are left to it for
    # visibility_timeout, an hour by default: five minutes more do not matter.
    "unacked_restore_interval": 300,
    "unacked_restore_throttle": 1,
}

PROFILES: Final[Mapping[str, Profile]] = {
    "default": Profile(),
    "balanced": Profile(BALANCED, "redis_optimizer.tasks.consumers:QuietConsumer"),
    "metered": Profile(METERED, "redis_optimizer.tasks.consumers:SilentConsumer"),
    "metered_no_remote_control": Profile(
        METERED, "redis_optimizer.tasks.consumers:SilentConsumer", remote_control=False
    ),
}
"""The profiles, by name."""


def find_profile(name: str) -> Profile:
    """Return the profile of that name.

    Raises:
        ImproperlyConfigured: when there is none; the message lists those that there are.
    """
    if name not in PROFILES:
        raise ImproperlyConfigured(
            f"There is no profile {name!r}. The profiles are: {', '.join(PROFILES)}."
        )
    return PROFILES[name]
