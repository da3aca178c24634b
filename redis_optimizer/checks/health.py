"""Check what the health endpoints are set to do."""

from collections.abc import Iterator
from types import ModuleType
from typing import Any, Final

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.core.exceptions import ImproperlyConfigured
from django.urls import get_resolver
from django.utils.module_loading import import_string

from redis_optimizer.cache.options import Options
from redis_optimizer.cache.tiered import TieredCache
from redis_optimizer.conf import cache_settings, get_settings
from redis_optimizer.health import registry
from redis_optimizer.middleware import RedisOptimizerMiddleware

__all__ = ["check_health", "check_middleware", "check_urls"]

MIDDLEWARE: Final = "redis_optimizer.middleware.RedisOptimizerMiddleware"

ANSWERS: Final = frozenset(
    {
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.auth.middleware.LoginRequiredMiddleware",
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.middleware.locale.LocaleMiddleware",
        "django.middleware.security.SecurityMiddleware",
    }
)
"""Middleware that may answer in place of ``live/``, or look at the session or the host."""

PROBE_SEES: Final = 10
"""Seconds within which a probe should see that a server is gone."""


@register(Tags.compatibility)
def check_health(**kwargs: Any) -> list[CheckMessage]:
    """Check the ``HEALTH_`` settings: what they name, and whether they fit together."""
    try:
        get_settings()
    except ImproperlyConfigured:  # said by another check
        return []
    return [*_check_checks(), *_check_share(), *_check_timeouts()]


@register(Tags.compatibility)
def check_middleware(**kwargs: Any) -> list[CheckMessage]:
    """Check the place of the middleware, which answers ``live/``."""
    paths = list(settings.MIDDLEWARE)
    ours = next((n for n, path in enumerate(paths) if _is_ours(path)), None)
    before = [path for path in paths[:ours] if path in ANSWERS] if ours is not None else []
    if not before:
        return []
    return [
        Warning(
            f"{', '.join(before)} in MIDDLEWARE stands before RedisOptimizerMiddleware, and may "
            "answer in place of live/: a redirect, a refusal or a failure, of a process that is "
            "alive.",
            hint=f'Put "{MIDDLEWARE}" first.',
            id="redis_optimizer.W030",
        )
    ]


@register(Tags.urls)
def check_urls(**kwargs: Any) -> list[CheckMessage]:
    """Check that the middleware is there where the endpoints are."""
    if not getattr(settings, "ROOT_URLCONF", None) or any(map(_is_ours, settings.MIDDLEWARE)):
        return []
    try:
        is_included = _includes(get_resolver().url_patterns)
    except Exception:  # a URLconf that cannot be read: Django says so itself
        return []
    if not is_included:
        return []
    return [
        Warning(
            "redis_optimizer.urls is included, but RedisOptimizerMiddleware is not in MIDDLEWARE: "
            "live/ is answered behind all other middleware, which may refuse or fail.",
            hint=f'Put "{MIDDLEWARE}" first in MIDDLEWARE.',
            id="redis_optimizer.W031",
        )
    ]


def _check_checks() -> Iterator[CheckMessage]:
    for path, error in registry.problems():
        yield Error(
            f"The health check {path} cannot be run: {error}",
            hint="Correct it in REDIS_OPTIMIZER['HEALTH_CHECKS'], or leave it out.",
            id="redis_optimizer.E030",
        )


def _check_share() -> Iterator[CheckMessage]:
    alias = get_settings().HEALTH_SHARE
    if alias is not None and (wrong := _wrong_with(alias)):
        yield Error(
            f"REDIS_OPTIMIZER['HEALTH_SHARE'] is {alias!r}, {wrong}: no verdict is shared.",
            hint="Name a cache whose BACKEND is redis_optimizer.cache.TieredCache and whose "
            'OPTIONS["L1"] has "SINGLE_FLIGHT": "fleet", or None.',
            id="redis_optimizer.E031",
        )


def _wrong_with(alias: str) -> str:
    """Return why processes cannot share through a cache; empty when they can."""
    given = cache_settings().get(alias)
    if given is None:
        return "which is no alias in CACHES"
    try:
        backend = import_string(given.get("BACKEND", ""))
        options = Options.from_params(given)
    except (ImportError, ImproperlyConfigured):  # said by another check
        return ""
    if not isinstance(backend, type) or not issubclass(backend, TieredCache) or not options.is_on:
        return "a cache without an in-process tier"
    if options.SINGLE_FLIGHT != "fleet":
        return f"a cache with SINGLE_FLIGHT {options.SINGLE_FLIGHT!r}"
    return ""


def _check_timeouts() -> Iterator[CheckMessage]:
    ours = get_settings()
    if ours.HEALTH_CHECK_TIMEOUT > ours.HEALTH_TIMEOUT:
        yield Warning(
            f"HEALTH_CHECK_TIMEOUT ({ours.HEALTH_CHECK_TIMEOUT:g} s) is more than HEALTH_TIMEOUT "
            f"({ours.HEALTH_TIMEOUT:g} s), which ends all checks: no check has that long.",
            hint="Raise REDIS_OPTIMIZER['HEALTH_TIMEOUT'], or lower HEALTH_CHECK_TIMEOUT.",
            id="redis_optimizer.W032",
        )
    if (seconds := ours.READY_TTL + ours.HEALTH_TIMEOUT) > PROBE_SEES:
        yield Warning(
            f"ready/ may go {seconds:g} s before it says that a server is gone: READY_TTL "
            f"({ours.READY_TTL:g} s) and HEALTH_TIMEOUT ({ours.HEALTH_TIMEOUT:g} s) together.",
            hint=f"Keep the two of REDIS_OPTIMIZER within {PROBE_SEES} s together, or silence this "
            "in SILENCED_SYSTEM_CHECKS.",
            id="redis_optimizer.W033",
        )


def _is_ours(path: str) -> bool:
    if path == MIDDLEWARE:
        return True
    try:
        found = import_string(path)
    except ImportError:
        return False  # Django says so when it starts
    return isinstance(found, type) and issubclass(found, RedisOptimizerMiddleware)


def _includes(patterns: Any) -> bool:
    for pattern in patterns:
        # A resolver has what it includes; a pattern of one view has nothing.
        conf = getattr(pattern, "urlconf_name", None)
        if isinstance(conf, ModuleType) and conf.__name__ == "redis_optimizer.urls":
            return True
        if conf is not None and _includes(pattern.url_patterns):
            return True
    return False
