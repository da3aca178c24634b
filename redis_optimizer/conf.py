"""Read the package's settings and its environment: the only module that does.

Django's own settings are read where they are needed.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from math import inf
from typing import Any, Final, Literal

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed

__all__ = [
    "ENABLED_VARIABLE",
    "MOST",
    "MOST_AWAITED",
    "MOST_SECONDS",
    "Settings",
    "cache_settings",
    "get_settings",
    "is_text",
    "show",
]

ENABLED_VARIABLE: Final = "REDIS_OPTIMIZER_ENABLED"

MOST: Final = 10**12
"""The largest number, of bytes or of anything else, that is taken for what somebody meant."""

MOST_SECONDS: Final = 10**9
"""The longest time that can be given; beyond 292 years Python cannot wait."""

MOST_AWAITED: Final = 10**6
"""The longest time in seconds that a socket or a timer of a browser can be waited for: 24 days is
what the system takes, and what a browser does, whose timer ends at once where it is told more."""

LONGEST_SHOWN: Final = 200  # characters of a wrong value

_OFF: Final = frozenset({"0", "false", "no", "off"})
_ON: Final = frozenset({"1", "true", "yes", "on"})
_POSITIVE: Final = ("DEDUP_TTL", "HEALTH_CHECK_TIMEOUT", "HEALTH_TIMEOUT", "HEALTH_POLL_INTERVAL")

DEFAULT_CHECKS: Final = tuple(
    f"redis_optimizer.health.checks.{name}"
    for name in (
        "Redis",
        "Database",
        "Migrations",
        "CacheTier",
        "Broker",
        "Workers",
        "Disk",
        "Memory",
    )
)
"""Each looks for what there is on this site: a check of Celery's broker, say, where Celery is used
with one on Redis."""


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
    """The longest that a job of a task with a `batch_size` waits for others. 0: not at all. What
    ``batch()`` and a request collect waits for their end; while a response streams, so long at
    most."""

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

    BREAKER_AFTER: int = 0
    """Commands of the caches that a Redis server leaves unanswered, one after the other, before
    this process stops asking it. Then calls fail at once, as they would after their timeout, until
    the server answers again. 0: it is always asked, as by django-redis. See :doc:`outages`."""

    HEALTH_CHECKS: Sequence[str | tuple[str, Mapping[str, Any]]] = DEFAULT_CHECKS
    """What is asked for a verdict: dotted paths of checks, each alone or with its options, as in
    ``("redis_optimizer.health.checks.Disk", {"path": "/srv"})``. Those registered by the decorator
    ``health_check`` come on top."""

    HEALTH_TTL: float = 120
    """How long a good verdict is shown to everybody. 0: each call runs the checks."""

    HEALTH_STAFF_TTL: float = 60
    """How long a good verdict is shown to staff."""

    HEALTH_FAILURE_TTL: float = 10
    """How long a bad verdict is shown, to anybody."""

    READY_TTL: float = 5
    """How long ``ready/`` goes by a verdict, a good or a bad one."""

    HEALTH_CHECK_TIMEOUT: float = 2
    """How long a check may take that has no timeout of its own."""

    HEALTH_TIMEOUT: float = 4
    """How long all checks together may take; they run side by side."""

    HEALTH_SHARE: str | None = None
    """The alias of a cache through which all processes share one verdict. None: each process has
    its own."""

    HEALTH_POLL_INTERVAL: float = 120
    """How often the health strip asks for the verdict."""

    STATUS_TTL: float = 300
    """How long ``cached_status`` keeps a response where it is not told."""

    RESPONSE_ENTRIES: int = 1_000
    """Responses that ``cached_status`` and ``cached_health`` keep in a process."""

    RESPONSE_BYTES: int = 16 * 1024**2
    """Bytes that those responses may take."""

    VIEWS_COUNTED: int = 200
    """Views that a process counts the requests of; all others are counted as one."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.type is float:
                is_awaited = field.name.endswith(("TIMEOUT", "INTERVAL"))
                most = MOST_AWAITED if is_awaited else MOST_SECONDS
                _within(0, most, field.name, value, "a number of seconds", int | float)
            elif field.type is int:
                least = 0 if field.name.startswith(("BREAKER_", "KEEP_")) else 1
                _within(least, MOST, field.name, value, "a whole number", int)
            elif isinstance(field.type, type) and type(value) is not field.type:
                raise _wrong(field.name, f"must be a {field.type.__name__}", value)
        if not self.NAMESPACE:
            raise ImproperlyConfigured("REDIS_OPTIMIZER['NAMESPACE'] must not be empty.")
        if not is_text(self.NAMESPACE):
            raise _wrong("NAMESPACE", "must be a text that can be sent", self.NAMESPACE)
        # By identity: 1 == True, but is not what was meant.
        if self.ENVELOPES != "auto" and type(self.ENVELOPES) is not bool:
            raise _wrong("ENVELOPES", "must be 'auto', True or False", self.ENVELOPES)
        for name in _POSITIVE:
            if getattr(self, name) <= 0:
                raise _wrong(name, "must be more than 0", getattr(self, name))
        if not (self.HEALTH_SHARE is None or isinstance(self.HEALTH_SHARE, str)):
            raise _wrong("HEALTH_SHARE", "must be the alias of a cache or None", self.HEALTH_SHARE)
        if not _are_checks(self.HEALTH_CHECKS):
            raise _wrong(
                "HEALTH_CHECKS",
                "must be a list of dotted paths, or of pairs of a path and its options",
                self.HEALTH_CHECKS,
            )


@cache
def get_settings() -> Settings:
    """Return the settings in force.

    Raises:
        ImproperlyConfigured: for a name or a value that is wrong; the message names it.
    """
    given = getattr(settings, "REDIS_OPTIMIZER", {})
    if not isinstance(given, Mapping):
        raise ImproperlyConfigured(f"REDIS_OPTIMIZER must be a dict, not {show(given)}.")
    known = [field.name for field in fields(Settings)]
    for name in given:
        if name not in known:
            raise ImproperlyConfigured(
                f"REDIS_OPTIMIZER has no option {show(name)}. The options are: {', '.join(known)}."
            )
    return Settings(**{**given, **_from_environment(os.environ)})


def cache_settings() -> dict[str, dict[str, Any]]:
    """Return Django's ``CACHES``, by alias."""
    return dict(settings.CACHES)


def _are_checks(given: object) -> bool:
    """Tell whether a value has the form of HEALTH_CHECKS; what it names is imported later."""
    if not isinstance(given, list | tuple):
        return False
    pairs = [item for item in given if not isinstance(item, str)]
    return all(
        isinstance(pair, list | tuple)
        and len(pair) == 2
        and isinstance(pair[0], str)
        and isinstance(pair[1], Mapping)
        for pair in pairs
    )


def show(value: object) -> str:
    """Return a value as messages show it, which is short; there are some that Python cannot."""
    try:
        text = repr(value)
    except Exception:  # an integer of 5,000 digits, say
        return f"this {type(value).__name__}"
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}…"


def is_text(value: str) -> bool:
    """Tell whether a text can be sent to Redis: half of a surrogate pair cannot."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _within(least: int, most: int, name: str, value: Any, what: str, kind: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, kind) or not least <= value < inf:
        raise _wrong(name, f"must be {what}, {least} or more", value)
    if value > most:
        raise _wrong(name, f"must be {what}, {most:,} or less", value)


def _wrong(name: str, must: str, value: object) -> ImproperlyConfigured:
    return ImproperlyConfigured(f"REDIS_OPTIMIZER[{name!r}] {must}, not {show(value)}.")


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
