"""How long a verdict is shown, by the settings."""

from typing import Literal

from redis_optimizer.conf import get_settings
from redis_optimizer.health.audience import Audience
from redis_optimizer.health.report import Status
from redis_optimizer.switches import is_on

__all__ = ["Part", "lifetimes"]

Part = Literal["health", "ready"]


def lifetimes(part: Part, status: Status) -> dict[Audience, float]:
    """Return how many seconds a verdict is shown to each audience, from when its run began.

    Args:
        part: What it is on: all checks, or those for ``ready/``.
        status: What it says.
    """
    settings = get_settings()
    if not is_on("endpoints"):
        return dict.fromkeys(Audience, 0.0)
    if part == "ready":
        seconds = dict.fromkeys(Audience, settings.READY_TTL)
    else:
        seconds = {
            Audience.PUBLIC: settings.HEALTH_TTL,
            Audience.STAFF: settings.HEALTH_STAFF_TTL,
        }
    if status is Status.FAILING:
        return {who: min(time, settings.HEALTH_FAILURE_TTL) for who, time in seconds.items()}
    return seconds
