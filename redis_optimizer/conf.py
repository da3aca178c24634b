"""Read the project's settings and the environment: the only module that does."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from typing import Any, Final

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed

__all__ = ["Settings", "cache_settings", "get_settings"]

ENABLED_VARIABLE: Final = "REDIS_OPTIMIZER_ENABLED"
_OFF: Final = frozenset({"0", "false", "no", "off"})
_ON: Final = frozenset({"1", "true", "yes", "on"})


@dataclass(frozen=True, slots=True)
class Settings:
    """The ``REDIS_OPTIMIZER`` setting, with its defaults."""

    ENABLED: bool = True
    """False switches every part off: the site runs as it would on django-redis and Celery alone.
    The environment variable ``REDIS_OPTIMIZER_ENABLED=0`` does so without a deploy."""

    NAMESPACE: str = "default"
    """Names the site among those that share a Redis server. Processes of one site hear each other
    on the Pub/Sub channel ``redis_optimizer:<NAMESPACE>``."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if type(value) is not field.type:
                raise ImproperlyConfigured(
                    f"REDIS_OPTIMIZER[{field.name!r}] must be a {getattr(field.type, '__name__')}"  # noqa: B009
                    f", not {value!r}."
                )
        if not self.NAMESPACE:
            raise ImproperlyConfigured("REDIS_OPTIMIZER['NAMESPACE'] must not be empty.")


@cache
def get_settings() -> Settings:
    """Return the settings in force.

    Raises:
        ImproperlyConfigured: for a name or a value that is wrong; the message names it.
    """
    given = getattr(settings, "REDIS_OPTIMIZER", {})
    if not isinstance(given, Mapping):
        raise ImproperlyConfigured(f"REDIS_OPTIMIZER must be a dict, not {given!r}.")
    known = [field.name for field in fields(Settings)]
    for name in given:
        if name not in known:
            raise ImproperlyConfigured(
                f"REDIS_OPTIMIZER has no option {name!r}. The options are: {', '.join(known)}."
            )
    return Settings(**{**given, **_from_environment(os.environ)})


def cache_settings() -> dict[str, dict[str, Any]]:
    """Return Django's ``CACHES``, by alias."""
    return dict(settings.CACHES)


def _from_environment(environment: Mapping[str, str]) -> dict[str, bool]:
    word = environment.get(ENABLED_VARIABLE, "").strip().lower()
    if not word:
        return {}
    if word not in _OFF | _ON:
        raise ImproperlyConfigured(
            f"The environment variable {ENABLED_VARIABLE} must be 0 or 1, not {word!r}."
        )
    return {"ENABLED": word in _ON}


def _forget(*, setting: str, **kwargs: object) -> None:
    if setting == "REDIS_OPTIMIZER":
        get_settings.cache_clear()


setting_changed.connect(_forget, dispatch_uid="redis_optimizer.conf")
