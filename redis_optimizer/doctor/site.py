"""What costs or endangers something in the settings of the site."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

from django.conf import settings
from django.utils.module_loading import import_string

from redis_optimizer.conf import ENABLED_VARIABLE, get_settings
from redis_optimizer.doctor.evidence import Evidence
from redis_optimizer.doctor.findings import Examination, Found, Severity, examination
from redis_optimizer.middleware import RedisOptimizerMiddleware

__all__ = ["EXAMINATIONS"]

MIDDLEWARE: Final = "redis_optimizer.middleware.RedisOptimizerMiddleware"
SESSIONS: Final = ("django.contrib.sessions.backends.cache", "redis_optimizer.contrib.sessions")
"""Engines that keep them in a cache alone."""


@examination(
    "switched-off",
    Severity.INFO,
    "What is off saves nothing. What was switched off at run time stays so, beyond restarts and "
    "deploys, until somebody switches it on.",
)
def switched_off(evidence: Evidence) -> Iterator[Found]:
    if not get_settings().ENABLED:
        yield Found(
            what='Every part is off: REDIS_OPTIMIZER["ENABLED"] is False, or the environment says '
            f"{ENABLED_VARIABLE}=0.",
            change=f'REDIS_OPTIMIZER["ENABLED"] = True, and no {ENABLED_VARIABLE}',
        )
    for part, state in evidence.states.items():
        if not state.on:
            when = datetime.fromtimestamp(state.at, UTC).strftime("%Y-%m-%d %H:%M UTC")
            yield Found(
                what=f"The part {part!r} is switched off since {when}"
                + (f", by {state.by}." if state.by else "."),
                change=f"manage.py redis_optimizer_switch {part} on",
            )


@examination(
    "middleware-missing",
    Severity.INFO,
    "Without it the jobs of a request go out one by one instead of together, live/ is answered "
    "behind all other middleware, and nothing tells which views read Redis.",
)
def middleware_missing(evidence: Evidence) -> Iterator[Found]:
    if not any(map(_is_ours, settings.MIDDLEWARE)):
        yield Found(
            what="RedisOptimizerMiddleware is not in MIDDLEWARE.",
            change=f'MIDDLEWARE = ["{MIDDLEWARE}", *MIDDLEWARE]',
            severity=Severity.WARNING if evidence.server_of("broker") else None,
        )


@examination(
    "sessions-in-cache",
    Severity.WARNING,
    "Sessions are in the cache alone: who is evicted or cleared is signed out.",
)
def sessions_in_cache(evidence: Evidence) -> Iterator[Found]:
    if settings.SESSION_ENGINE not in SESSIONS:
        return
    name = settings.SESSION_CACHE_ALIAS
    alias = next((each for each in evidence.aliases if each.name == name), None)
    if alias is None or alias.server is None:
        return
    server = alias.server
    databases = {use.database for use in server.uses if use.alias == name}
    caches = server.used_for("cache")
    others = [use.name for use in caches if use.database in databases and use.alias != name]
    reasons = []
    if server.evicts:
        reasons.append(f"{server.address} evicts keys ({server.policy})")
    if others:
        reasons.append(f"clear() of {', '.join(dict.fromkeys(others))} deletes them, too")
    elif name == "default":
        reasons.append("cache.clear() deletes them: the alias is the site's own cache")
    if reasons:
        yield Found(
            what=f"Sessions are in {alias.setting}, and {'; '.join(reasons)}.",
            change='SESSION_ENGINE = "django.contrib.sessions.backends.cached_db", or an alias of '
            "their own in another database of a server that does not evict",
        )


def _is_ours(path: str) -> bool:
    try:
        found = import_string(path)
    except ImportError:
        return False  # Django says so when it starts
    return isinstance(found, type) and issubclass(found, RedisOptimizerMiddleware)


EXAMINATIONS: Final[tuple[Examination, ...]] = (
    switched_off,
    middleware_missing,
    sessions_in_cache,
)
