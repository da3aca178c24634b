"""The verdicts of this process, one on each part of the site."""

import functools
import logging
from collections.abc import Sequence
from math import inf
from typing import Final

from django.core.signals import setting_changed

from redis_optimizer.core.forks import around_fork
from redis_optimizer.health import registry
from redis_optimizer.health.audience import Audience
from redis_optimizer.health.base import Check
from redis_optimizer.health.findings import Verdict
from redis_optimizer.health.ledger import Ledger
from redis_optimizer.health.lifetimes import Part

__all__ = [
    "aget_verdict",
    "arefresh_verdict",
    "begin_verdict",
    "drop_verdicts",
    "get_verdict",
    "peek_verdict",
    "refresh_verdict",
    "reset_verdicts",
]

logger = logging.getLogger("redis_optimizer.health")


def get_verdict(
    part: Part = "health", *, audience: Audience = Audience.PUBLIC, max_age: float | None = None
) -> Verdict:
    """Return the verdict. Where none is young enough, run the checks, once for all who ask.

    It takes ``HEALTH_TIMEOUT`` at most, or twice that where a verdict is dropped meanwhile. In a
    coroutine, await :func:`aget_verdict`.

    Args:
        part: "health" is all checks, "ready" those for ``ready/``.
        audience: Whom it is told to; that decides how long it is kept.
        max_age: Seconds that it may be old, where it would be kept longer.

    Raises:
        ImproperlyConfigured: the settings are wrong.
    """
    return _ledgers[part].get(audience, inf if max_age is None else max_age)


async def aget_verdict(
    part: Part = "health", *, audience: Audience = Audience.PUBLIC, max_age: float | None = None
) -> Verdict:
    """Return the verdict as :func:`get_verdict` does, without blocking the event loop."""
    return await _ledgers[part].aget(audience, inf if max_age is None else max_age)


def refresh_verdict(part: Part = "health", *, audience: Audience = Audience.PUBLIC) -> Verdict:
    """Run the checks, whatever is known, and return the verdict.

    Those who call while they run wait for the same run.

    Args:
        part: "health" or "ready".
        audience: Whom it is told to.
    """
    return _ledgers[part].get(audience, anew=True)


async def arefresh_verdict(
    part: Part = "health", *, audience: Audience = Audience.PUBLIC
) -> Verdict:
    """Run the checks as :func:`refresh_verdict` does, without blocking the event loop."""
    return await _ledgers[part].aget(audience, anew=True)


def peek_verdict(part: Part = "health", *, audience: Audience = Audience.PUBLIC) -> Verdict | None:
    """Return what this process knows, without waiting for anything.

    Args:
        part: "health" or "ready".
        audience: Whom it is told to.

    Returns:
        The last verdict, or None. Its time may be over: ``kept_for`` is 0 then.
    """
    return _ledgers[part].peek(audience)


def begin_verdict(part: Part = "health", *, audience: Audience = Audience.PUBLIC) -> None:
    """Run the checks in the background, unless the verdict is young enough or a run is under way.

    Nothing is run where no verdict is kept, because its lifetime is 0.

    Args:
        part: "health" or "ready".
        audience: Whom it will be told to.
    """
    _ledgers[part].begin(audience)


def drop_verdicts(reason: str) -> None:
    """Believe no good verdict any longer: the next caller has the checks run.

    A bad verdict stays for its time.

    Args:
        reason: What was seen, in a few words; logged.
    """
    dropped = [ledger.drop() for ledger in _ledgers.values()]
    if any(dropped):
        logger.info("The verdict of the health checks is dropped: %s", reason)


def _checks(part: Part) -> Sequence[Check]:
    checks = registry.get_checks()
    return [check for check in checks if check.ready] if part == "ready" else checks


_ledgers: Final[dict[Part, Ledger]] = {
    "health": Ledger("health", functools.partial(_checks, "health")),
    "ready": Ledger("ready", functools.partial(_checks, "ready")),
}


def reset_verdicts(**kwargs: object) -> None:
    """Know no verdict, while no check is under way.

    Args:
        kwargs: Not used: of the signal that settings have changed.
    """
    for ledger in _ledgers.values():
        ledger.reset()


setting_changed.connect(reset_verdicts, dispatch_uid="redis_optimizer.health.verdict")
around_fork(after_in_child=reset_verdicts)
