"""Read Django's settings and the environment: the only module that does."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from math import inf
from typing import Any, Final, Literal

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed

__all__ = ["Settings", "cache_settings", "get_settings"]

ENABLED_VARIABLE: Final = "REDIS_OPTIMIZER_ENABLED"
_OFF: Final = frozenset({"0", "false", "no", "off"})
_ON: Final = frozenset({"1", "true", "yes", "on"})


@dataclass(frozen=True, slots=True)
class Settings:
    """The ``REDIS_OPTIMIZER`` setting, with its defaults. Times are in seconds."""

    ENABLED: bool = True
    """False switches every part off: the site runs as it would on django-redis and Celery alone.
    The environment variable ``REDIS_OPTIMIZER_ENABLED=0`` does so without a deploy."""

    NAMESPACE: str = "default"
    """Names the site among those that share a Redis server. Processes of one site hear each other
    on the Pub/Sub channel ``redis_optimizer:<NAMESPACE>``; locks and records of jobs begin so."""

    BATCH_SIZE: int = 100
    """Jobs that a buffer of a ``BatchTask`` holds before it is sent."""

    BATCH_TIMEOUT: float = 0.25
    """The longest that a job waits in a buffer. 0: nothing is buffered."""

    BATCH_DELAY: float = 0
    """The least time between two sendings of one kind of jobs by one process."""

    BATCH_REQUESTS: bool = True
    """With the middleware: what a request sends goes out together, when the view has returned."""

    MAX_MESSAGE_BYTES: int = 512 * 1024
    """Bytes of jobs that one message may hold."""

    MAX_BUFFERED: int = 10_000
    """Jobs that a process holds while the broker cannot be reached; then ``delay()`` raises."""

    MAX_BUFFERED_BYTES: int = 64 * 1024**2
    """Bytes that those jobs may take."""

    ENVELOPES: bool | Literal["auto"] = "auto"
    """Send many jobs in one message: "auto", where a worker has said that it opens them; True,
    always; False, never. Jobs that are sent singly still leave the process in one command."""

    DEDUP_TTL: float = 2 * 3600
    """How long a job stands for its duplicates when it is never heard of again."""

    KEEP_SUCCEEDED: int = 5
    """Results of successful runs that are kept for each task. 0: all."""

    KEEP_FAILED: int = 3
    """Results of failed runs that are kept for each task. 0: all."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.type is float:
                _at_least(0, field.name, value, "a number of seconds", int | float)
            elif field.type is int:
                least = 0 if field.name.startswith("KEEP_") else 1
                _at_least(least, field.name, value, "a whole number", int)
            elif isinstance(field.type, type) and type(value) is not field.type:
                raise _wrong(field.name, f"must be a {field.type.__name__}", value)
        if not self.NAMESPACE:
            raise ImproperlyConfigured("REDIS_OPTIMIZER['NAMESPACE'] must not be empty.")
        # By identity: 1 == True, but is not what was meant.
        if self.ENVELOPES != "auto" and type(self.ENVELOPES) is not bool:
            raise _wrong("ENVELOPES", "must be 'auto', True or False", self.ENVELOPES)
        if self.DEDUP_TTL <= 0:
            raise _wrong("DEDUP_TTL", "must be more than 0", self.DEDUP_TTL)


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


def _at_least(least: int, name: str, value: Any, what: str, kind: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, kind) or not least <= value < inf:
        raise _wrong(name, f"must be {what}, {least} or more", value)


def _wrong(name: str, must: str, value: object) -> ImproperlyConfigured:
    return ImproperlyConfigured(f"REDIS_OPTIMIZER[{name!r}] {must}, not {value!r}.")


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
