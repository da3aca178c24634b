"""Read ``CACHES[alias]["OPTIONS"]["L1"]``."""

import fnmatch
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from math import inf
from typing import Any, Final, Literal, Self

from django.core.exceptions import ImproperlyConfigured

from redis_optimizer.conf import MOST, MOST_AWAITED, MOST_SECONDS, is_text, show

__all__ = ["PART", "Options"]

PART: Final = "cache"
"""The part that the caches are, see `redis_optimizer.switches`."""

Coherence = Literal["tracking", "ttl"]
SingleFlight = Literal["process", "fleet", "off"]


@dataclass(frozen=True)
class Options:
    """The options of one alias's in-process tier, with their defaults. Times are in seconds."""

    ENABLED: bool = True
    """False: plain django-redis, command for command."""

    MAX_ENTRIES: int = 10_000
    """Entries kept, per process and alias."""

    MAX_BYTES: int = 64 * 1024**2
    """Bytes they may take, per process and alias. One value may take an eighth of it. A child of a
    Celery worker takes 16 MiB at most while this is at its default."""

    MAX_AGE: float = 300
    """The longest that a value is kept. 0 switches the tier off."""

    NEGATIVE_AGE: float = 5
    """How long a miss is remembered. 0: not at all."""

    COHERENCE: Coherence = "tracking"
    """"tracking": the server tells of every write. "ttl": nobody does; MAX_AGE is the bound."""

    PREFIXES: tuple[str, ...] = ()
    """Only keys that begin with one of these are kept. Empty: ``<KEY_PREFIX>:``."""

    HEARTBEAT: float = 5
    """Time between two PINGs of a process that reads."""

    MAX_STALENESS: float = 12
    """The longest that a changed value can be served when the connection has failed silently. At
    least 2 x HEARTBEAT + 1."""

    EXACT_TTL: bool | Literal["auto"] = "auto"
    """Ask for a key's TTL with each read (True), for keys read before ("auto"), or never (False).
    A key whose TTL is not known is kept for MAX_STALENESS at most."""

    STALE_IF_ERROR: float = 0
    """When Redis does not answer a read: how long ago what is returned in its place may have ceased
    to be fresh. 0: such a read fails. See :doc:`outages`."""

    SINGLE_FLIGHT: SingleFlight = "process"
    """Who shares one run of a ``get_or_set`` loader: the process, the fleet, or nobody."""

    SINGLE_FLIGHT_TIMEOUT: float = 30
    """With "fleet": how long a loader that died holds up the others."""

    REREAD_MANY: int = 16
    """How many keys that were let go of lately ``get_or_set`` reads again together with one that it
    misses, by one MGET. 0: none."""

    EXCLUDE: tuple[str, ...] = ()
    """Globs; keys (as the site names them) that match one are never kept."""

    START_AFTER: int = 16
    """Reads before the tier starts, so that a short-lived process does not pay for it."""

    exclude: re.Pattern[str] | None = field(init=False, repr=False, compare=False)

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> Self:
        """Make options from a cache's settings.

        Args:
            params: What Django hands to a cache backend.

        Raises:
            ImproperlyConfigured: for a name or a value that is wrong; the message names it.
        """
        options = params.get("OPTIONS", {})
        if not isinstance(options, Mapping):
            raise ImproperlyConfigured(f"OPTIONS must be a dict, not {show(options)}.")
        given = options.get("L1", {})
        if not isinstance(given, Mapping):
            raise _wrong("", "must be a dict", given)
        known = [item.name for item in fields(cls) if item.init]
        for name in given:
            if name not in known:
                raise ImproperlyConfigured(
                    f'OPTIONS["L1"] has no option {show(name)}. '
                    f"The options are: {', '.join(known)}."
                )
        values = dict(given)
        for name in ("PREFIXES", "EXCLUDE"):
            values[name] = _strings(name, values.get(name, ()))
        values["PREFIXES"] = values["PREFIXES"] or (f"{params.get('KEY_PREFIX', '')}:",)
        return cls(**values)

    def __post_init__(self) -> None:
        for name in ("MAX_AGE", "NEGATIVE_AGE", "STALE_IF_ERROR"):
            _number(name, getattr(self, name), at_least=0, at_most=MOST_SECONDS)
        for name in ("HEARTBEAT", "SINGLE_FLIGHT_TIMEOUT"):
            _number(name, getattr(self, name), at_least=0.1, at_most=MOST_AWAITED)
        _number("MAX_STALENESS", self.MAX_STALENESS, at_least=0, at_most=MOST_AWAITED)
        if self.MAX_STALENESS < 2 * self.HEARTBEAT + 1:
            raise _wrong("MAX_STALENESS", "must be at least 2 x HEARTBEAT + 1", self.MAX_STALENESS)
        for name in ("MAX_ENTRIES", "MAX_BYTES"):
            _integer(name, getattr(self, name), at_least=1)
        for name in ("START_AFTER", "REREAD_MANY"):
            _integer(name, getattr(self, name), at_least=0)
        _choice("ENABLED", self.ENABLED, True, False)
        _choice("COHERENCE", self.COHERENCE, "tracking", "ttl")
        _choice("EXACT_TTL", self.EXACT_TTL, "auto", True, False)
        _choice("SINGLE_FLIGHT", self.SINGLE_FLIGHT, "process", "fleet", "off")
        pattern = "|".join(map(fnmatch.translate, self.EXCLUDE))
        object.__setattr__(self, "exclude", re.compile(pattern) if pattern else None)

    @property
    def is_on(self) -> bool:
        """True when values are kept at all."""
        return self.ENABLED and self.MAX_AGE > 0


def _wrong(name: str, must: str, value: object) -> ImproperlyConfigured:
    where = f'OPTIONS["L1"]["{name}"]' if name else 'OPTIONS["L1"]'
    return ImproperlyConfigured(f"{where} {must}, not {show(value)}.")


def _number(name: str, value: object, *, at_least: float, at_most: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not at_least <= value < inf:
        raise _wrong(name, f"must be a number of seconds, {at_least} or more", value)
    if value > at_most:
        raise _wrong(name, f"must be a number of seconds, {at_most:,} or less", value)


def _integer(name: str, value: object, *, at_least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < at_least:
        raise _wrong(name, f"must be a whole number, {at_least} or more", value)
    if value > MOST:
        raise _wrong(name, f"must be a whole number, {MOST:,} or less", value)


def _choice(name: str, value: object, *choices: object) -> None:
    # By identity for booleans: 1 == True, but is not what was meant.
    if not any(value is c or (isinstance(c, str) and value == c) for c in choices):
        raise _wrong(name, f"must be one of {', '.join(map(repr, choices))}", value)


def _strings(name: str, value: object) -> tuple[str, ...]:
    if isinstance(value, str) or not isinstance(value, list | tuple | set | frozenset):
        raise _wrong(name, "must be a list of strings", value)
    if not all(isinstance(item, str) and item for item in value):
        raise _wrong(name, "must be a list of strings, none of them empty", value)
    if not all(map(is_text, value)):
        raise _wrong(name, "must be a list of strings that can be sent", value)
    return tuple(value)
