"""What keeps the in-process tiers from their work, or makes it dear."""

import socket
from collections.abc import Iterator, Mapping
from typing import Any, Final

from redis_optimizer.cache.options import Options
from redis_optimizer.cache.tiered import TieredCache
from redis_optimizer.conf import get_settings
from redis_optimizer.doctor.caches import tier_options
from redis_optimizer.doctor.evidence import Alias, Evidence
from redis_optimizer.doctor.findings import (
    DAY,
    Examination,
    Found,
    Severity,
    examination,
    per_day,
)

__all__ = ["EXAMINATIONS"]

MANY_WRITES: Final = 200
"""Writes a second. Each is pushed to every process, which costs the server about 6 us for each."""

WRITES: Final = (
    *("set", "mset", "del", "unlink", "getdel", "getex", "incrby", "decrby", "append"),
    *("expire", "pexpire", "pexpireat", "persist", "hset", "hdel"),
)
"""Of caches. What Celery's broker does is mostly LPUSH, BRPOP and commands of sorted sets."""

PUSH: Final = 6e-6  # seconds of the server's, measured

MANY_EVICTIONS: Final = 1.0
"""Evictions a second and process."""

SHARE: Final = 0.5
"""Of the memory: the site itself needs some, too."""


@examination(
    "tracking-refused",
    Severity.WARNING,
    "Without CLIENT TRACKING nobody tells processes of writes: values are kept for MAX_STALENESS "
    "at most, misses not at all, and most of what the tier would save is lost.",
)
def tracking_refused(evidence: Evidence) -> Iterator[Found]:
    for alias, _ in _tracked(evidence):
        server = alias.server
        refused = server.tracking if server is not None else None
        told = _values(evidence, alias, "coherence")
        if not refused and "refused" not in told:
            continue
        where = server.address if server is not None else "its server"
        reason = refused or f"{told.count('refused')} of {len(told)} processes say so"
        yield Found(
            what=f"{where} refuses to track writes for {alias.setting}: {reason}",
            change="Redis 6 or later, and for a user with an ACL: ACL SETUSER <user> +hello "
            "+client|tracking +client|id +subscribe. Where it can never be: "
            f'{alias.setting}["OPTIONS"]["L1"]["COHERENCE"] = "ttl"',
        )


@examination(
    "ttl-coherence",
    Severity.INFO,
    "A changed value can be served for up to MAX_AGE. With tracking it is gone within "
    "milliseconds, and kept for as long.",
)
def ttl_coherence(evidence: Evidence) -> Iterator[Found]:
    for alias, options in _tiers(evidence):
        if options.COHERENCE == "ttl" and alias.server and alias.server.tracking == "":
            where = f'{alias.setting}["OPTIONS"]["L1"]["COHERENCE"]'
            yield Found(
                what=f'{where} is "ttl" (MAX_AGE {options.MAX_AGE:g} s), though '
                f"{alias.server.address} tracks writes.",
                change=f'{where} = "tracking"',
            )


@examination(
    "many-writes",
    Severity.WARNING,
    "Each write under a tracked prefix is pushed to every process, and what was dropped is read "
    "again. Keys that are written more than they are read gain nothing by it.",
)
def many_writes(evidence: Evidence) -> Iterator[Found]:
    for alias, options in _tracked(evidence):
        dropped = max(evidence.growth("caches", alias.name, "invalidations"), default=0.0)
        written = alias.server.rate(*WRITES) if alias.server else 0.0
        if max(dropped, written) < MANY_WRITES:
            continue
        prefixes = ", ".join(map(repr, options.PREFIXES))
        listeners = len(evidence.growth("caches", alias.name, "invalidations"))
        seen = (
            f"A process drops {dropped:,.0f} values/s of {alias.setting} because they were written"
            if dropped >= MANY_WRITES
            else f"{alias.server.address if alias.server else ''} takes {written:,.0f} writes/s, "
            f"of which those under {prefixes} are pushed for {alias.setting}"
        )
        yield Found(
            what=f"{seen}.",
            change="Put what is written often into an alias of its own, with another KEY_PREFIX "
            'and OPTIONS = {"L1": {"ENABLED": False}}; or name the beginnings of what is read '
            f'often in {alias.setting}["OPTIONS"]["L1"]["PREFIXES"]',
            arithmetic=f"{max(dropped, written):,.0f} writes/s x {listeners} processes x "
            f"{PUSH * 1e6:.0f} us = {100 * max(dropped, written) * listeners * PUSH:.1f} % of a "
            "core of the server"
            if listeners
            else "",
            # Nobody can tell from outside which keys they were.
            severity=None if dropped >= MANY_WRITES else Severity.INFO,
        )


@examination(
    "small-tier",
    Severity.WARNING,
    "What is dropped to make room is read from Redis again when it is asked for.",
)
def small_tier(evidence: Evidence) -> Iterator[Found]:
    for alias, options in _tiers(evidence):
        rates = evidence.growth("caches", alias.name, "evictions")
        if max(rates, default=0.0) < MANY_EVICTIONS:
            continue
        misses = sum(evidence.growth("caches", alias.name, "misses"))
        rate = min(sum(rates), misses)
        where = f'{alias.setting}["OPTIONS"]["L1"]'
        yield Found(
            what=f"{where} is too small: {len(rates)} processes evict {sum(rates):,.1f} values/s.",
            change=f'{where}["MAX_ENTRIES"] = {2 * options.MAX_ENTRIES} and '
            f'["MAX_BYTES"] = {2 * options.MAX_BYTES}',
            saves=per_day(rate),
            at_most=True,
            arithmetic=f"the smaller of {sum(rates):,.1f} evictions/s and {misses:,.1f} misses/s "
            f"x {DAY:,} s = {per_day(rate):,.0f} at most",
        )


@examination(
    "local-memory",
    Severity.WARNING,
    "Each process keeps up to MAX_BYTES of each alias. When all of them are full, the machine has "
    "too little left for the site, and the kernel ends processes.",
)
def local_memory(evidence: Evidence) -> Iterator[Found]:
    if evidence.memory is None or evidence.stats is None:
        return
    here = [p for p in evidence.stats.processes if p.facts.get("host") == socket.gethostname()]
    limits = [_max_bytes(process.totals) for process in here]
    total = sum(limits)
    if total <= SHARE * evidence.memory:
        return
    share = int(SHARE * evidence.memory / len(here)) >> 20
    yield Found(
        what=f"{len(here)} processes on this machine may keep {_mib(total)} in their tiers; the "
        f"memory is {_mib(evidence.memory)}.",
        change='CACHES[...]["OPTIONS"]["L1"]["MAX_BYTES"]: all aliases of a process together '
        f"{share} MiB at most, or fewer processes",
        arithmetic=f"{len(here)} x {_mib(total / len(here))} = {_mib(total)}, more than "
        f"{100 * SHARE:.0f} % of {_mib(evidence.memory)}",
    )


def _tiers(evidence: Evidence) -> Iterator[tuple[Alias, Options]]:
    """Yield the aliases whose tier is on."""
    if not get_settings().ENABLED:
        return
    for alias in evidence.caches(TieredCache):
        options = tier_options(alias)
        if options is not None and options.is_on:
            yield alias, options


def _tracked(evidence: Evidence) -> Iterator[tuple[Alias, Options]]:
    for alias, options in _tiers(evidence):
        if options.COHERENCE == "tracking":
            yield alias, options


def _values(evidence: Evidence, alias: Alias, name: str) -> list[Any]:
    """Return what each process tells of an alias."""
    processes = evidence.stats.processes if evidence.stats else []
    caches = [process.totals.get("caches", {}).get(alias.name, {}) for process in processes]
    return [cache[name] for cache in caches if name in cache]


def _max_bytes(totals: Mapping[str, Any]) -> int:
    return sum(int(cache.get("max_bytes", 0)) for cache in totals.get("caches", {}).values())


def _mib(size: float) -> str:
    return f"{size / 1024**2:,.0f} MiB"


EXAMINATIONS: Final[tuple[Examination, ...]] = (
    tracking_refused,
    ttl_coherence,
    many_writes,
    small_tier,
    local_memory,
)
