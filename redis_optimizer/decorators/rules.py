"""What a decorated view was told, and what that comes to under the settings in force."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from redis_optimizer.conf import Settings
from redis_optimizer.decorators.limits import callable_or_none, names, seconds

__all__ = ["Rules", "Terms"]


class Terms(NamedTuple):
    """How long responses are served. All in seconds.

    Args:
        ttl: To everybody. 0: nothing is kept.
        staff_ttl: To staff.
        failure_ttl: To anybody, where the response says that something fails.
    """

    ttl: float
    staff_ttl: float
    failure_ttl: float


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What a decorator was given. Times are in seconds; None is the setting's.

    Args:
        is_health: The rules of ``cached_health``: one response for staff and one for all others,
            failures kept, too.
        ttl: How long a response is served to everybody.
        staff_ttl: How long to staff.
        failure_ttl: How long a response that says 503.
        vary: Tells apart those who get different responses; None: all get the same.
        params: Query parameters that a response depends on.
        stale_if_error: How long after its time a response is served if the view raises.
    """

    is_health: bool
    ttl: float | None = None
    staff_ttl: float | None = None
    failure_ttl: float | None = None
    vary: Callable[..., Any] | None = None
    params: tuple[str, ...] = ()
    stale_if_error: float = 0.0

    def check(self, whose: str) -> None:
        """Check them all.

        Raises:
            TypeError: or ValueError; the message names the argument and the view.
        """
        for name in ("ttl", "staff_ttl", "failure_ttl", "stale_if_error"):
            value = getattr(self, name)
            if value is not None or name == "stale_if_error":
                seconds(name, value, whose)
        callable_or_none("vary", self.vary, whose)
        names("params", self.params, whose)

    @property
    def is_for_all(self) -> bool:
        """True where nobody is told apart."""
        return self.vary is None and not self.is_health

    def terms(self, settings: Settings) -> Terms:
        """Return what they come to."""
        if not settings.ENABLED:
            return Terms(0, 0, 0)
        ttl, staff_ttl = self.ttl, self.staff_ttl
        if self.is_health:
            ttl = settings.HEALTH_TTL if ttl is None else ttl
            staff_ttl = settings.HEALTH_STAFF_TTL if staff_ttl is None else staff_ttl
        else:
            ttl = settings.STATUS_TTL if ttl is None else ttl
            staff_ttl = ttl if staff_ttl is None else staff_ttl
        failure_ttl = settings.HEALTH_FAILURE_TTL if self.failure_ttl is None else self.failure_ttl
        return Terms(ttl, staff_ttl, failure_ttl)
