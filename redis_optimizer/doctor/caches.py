"""What costs or endangers something in the settings of caches."""

from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Any, Final

from django.core.cache.backends.redis import RedisCache as DjangoRedisCache
from django.core.exceptions import ImproperlyConfigured
from django_redis.cache import RedisCache

from redis_optimizer.cache.cluster import is_clustered
from redis_optimizer.cache.options import Options
from redis_optimizer.cache.tiered import TieredCache
from redis_optimizer.connections import pool_options
from redis_optimizer.doctor.evidence import Alias, Evidence
from redis_optimizer.doctor.findings import (
    DAY,
    Examination,
    Found,
    Severity,
    examination,
    per_day,
)

__all__ = ["EXAMINATIONS", "tier_options"]

READS: Final = ("get", "mget")
_FORMS: Final = ("SERIALIZER", "COMPRESSOR")


@examination(
    "plain-backend",
    Severity.WARNING,
    "Every read is a command and a round trip. An in-process tier answers what is read again in "
    "the process, and is told of every write.",
)
def plain_backend(evidence: Evidence) -> Iterator[Found]:
    together: dict[str, list[Alias]] = {}  # a server does not tell whose reads it counts
    for alias in evidence.caches(RedisCache, DjangoRedisCache):
        if not _is_tiered(alias):
            address = alias.server.address if alias.server else ""
            together.setdefault(address, []).append(alias)
    for aliases in together.values():
        names = ", ".join(alias.setting for alias in aliases)
        backends = " and ".join(dict.fromkeys(alias.settings["BACKEND"] for alias in aliases))
        targets = "".join(f'{alias.setting}["BACKEND"] = ' for alias in aliases)
        saves, at_most, arithmetic = _gain(evidence, aliases)
        yield Found(
            what=f"{names}: {backends}, with nothing kept in process.",
            change=f'{targets}"redis_optimizer.cache.TieredCache"',
            saves=saves,
            at_most=at_most,
            arithmetic=arithmetic,
        )


@examination(
    "tier-off",
    Severity.INFO,
    "The alias is plain django-redis, command for command.",
)
def tier_off(evidence: Evidence) -> Iterator[Found]:
    for alias in evidence.caches(TieredCache):
        options = tier_options(alias)
        if options is None or options.is_on:
            continue
        setting, value = ("MAX_AGE", "300") if options.ENABLED else ("ENABLED", "True")
        saves, at_most, arithmetic = _gain(evidence, [alias])
        where = f'{alias.setting}["OPTIONS"]["L1"]["{setting}"]'
        yield Found(
            what=f"{where} is {getattr(options, setting)}: nothing is kept in process.",
            change=f"{where} = {value}",
            saves=saves,
            at_most=at_most,
            arithmetic=arithmetic,
        )


@examination(
    "shared-location",
    Severity.WARNING,
    "django-redis keeps one pool for each URL: the connection options of the alias that connects "
    "first hold for both, which may differ from process to process.",
)
def shared_location(evidence: Evidence) -> Iterator[Found]:
    for one, other in combinations(evidence.caches(RedisCache), 2):
        if is_clustered(one.settings) or is_clustered(other.settings):
            continue  # such a cache has pools that go by its options
        if one.settings.get("LOCATION") == other.settings.get("LOCATION"):
            ours, theirs = pool_options(one.settings), pool_options(other.settings)
            if names := [name for name in ours if ours[name] != theirs[name]]:
                yield Found(
                    what=f"{one.setting} and {other.setting} have one LOCATION but not the same "
                    f"{', '.join(names)}.",
                    change="Give both the same, or tell the URLs apart by a query string, such as "
                    '"?client_name=two".',
                )


@examination(
    "clashing-aliases",
    Severity.ERROR,
    "They name their keys alike but store values in different forms: each reads what the other "
    "wrote as garbage, or fails to.",
)
def clashing_aliases(evidence: Evidence) -> Iterator[Found]:
    for one, other in combinations(evidence.caches(RedisCache), 2):
        if one.server is not None and _keys(one) == _keys(other):
            forms = [{name: a.options.get(name) for name in _FORMS} for a in (one, other)]
            if names := [name for name in _FORMS if forms[0][name] != forms[1][name]]:
                yield Found(
                    what=f"{one.setting} and {other.setting} have one database and one KEY_PREFIX, "
                    f"but not the same {' and '.join(names)}.",
                    change=f'{other.setting}["KEY_PREFIX"] = "{other.name}"',
                )


def tier_options(alias: Alias) -> Options | None:
    """Return the options of an alias's tier; None where they are wrong, as a system check says."""
    try:
        return Options.from_params(alias.settings)
    except ImproperlyConfigured:
        return None


def _gain(evidence: Evidence, aliases: list[Alias]) -> tuple[float | None, bool, str]:
    """Return what tiers of one server save, whether that is a bound, and how it was computed."""
    server = aliases[0].server
    if server is None:
        return None, False, "Its server could not be looked at."
    rate = server.rate(*READS)
    if not rate:
        return (
            None,
            False,
            f"Unknown: no GET or MGET was seen on {server.address} in {evidence.seconds:.0f} s. "
            "Look for longer: --seconds 60.",
        )
    ratio = _hit_ratio(evidence)
    saves = per_day(rate) * (1 if ratio is None else ratio)
    words = [f"{rate:,.1f} GET and MGET/s on {server.address} x {DAY:,} s"]
    if ratio is not None:
        words.append(f"x {ratio:.2f}, the hit ratio of the site's tiers")
    words.append(f"= {saves:,.0f}")
    if ratio is None:
        words.append("at most; how many of them are reads of the same is not known before")
    others = {use.name for use in server.uses} - {alias.setting for alias in aliases}
    if others:
        words.append(f"(with those of {', '.join(sorted(others))})")
    return saves, ratio is None or bool(others), " ".join(words)


def _hit_ratio(evidence: Evidence) -> float | None:
    caches = evidence.stats.totals().get("caches", {}) if evidence.stats else {}
    hits = sum(each.get("hits", 0) for each in caches.values())
    reads = hits + sum(each.get("misses", 0) for each in caches.values())
    return hits / reads if reads else None


def _keys(alias: Alias) -> tuple[Any, ...]:
    """Return what decides where keys are and how they begin."""
    server = alias.server
    uses = server.uses if server else ()
    databases = sorted(use.database for use in uses if use.alias == alias.name)
    names = ("KEY_PREFIX", "VERSION", "KEY_FUNCTION")
    defaults: Mapping[str, Any] = {"KEY_PREFIX": "", "VERSION": 1}
    given = [alias.settings.get(name, defaults.get(name)) for name in names]
    return (server.address if server else "", databases, given)


def _is_tiered(alias: Alias) -> bool:
    return alias.backend is not None and issubclass(alias.backend, TieredCache)


EXAMINATIONS: Final[tuple[Examination, ...]] = (
    plain_backend,
    tier_off,
    shared_location,
    clashing_aliases,
)
