"""What the tiers of this process counted, as statistics show it."""

from typing import Any, Final

from redis_optimizer.cache import registry
from redis_optimizer.cache.outage import guards
from redis_optimizer.cache.tier import Tier
from redis_optimizer.conf import cache_settings
from redis_optimizer.signals import cache_cleared
from redis_optimizer.stats import commands
from redis_optimizer.stats.desk import desk
from redis_optimizer.stats.registry import register

__all__ = ["series", "totals"]

SHOWN: Final = (
    "hits",
    "misses",
    "fills",
    "fills_voided",
    "fills_refused",
    "evictions",
    "invalidations",
    "flushes",
    "unsigned",
    "stale_served",
    "loads_shared",
    "commands_avoided",
    "bytes",
    "max_bytes",
    "coherence",
    "staleness_bound",
    "breaker",
)


def totals() -> dict[str, Any]:
    """Return what was counted for each alias that was used; the first of those that share a tier.

    See `TieredCache.stats`; what takes long to count, as it looks at each entry, is not in it.
    """
    found: dict[str, Any] = {}
    seen: set[int] = set()
    for alias in cache_settings():
        tier = registry.find_tier(alias)
        if tier is not None and id(tier) not in seen:
            seen.add(id(tier))
            counted = tier.counts()
            found[alias] = {name: counted[name] for name in SHOWN} | {"entries": len(tier.store)}
    return found


def series() -> dict[str, int]:
    """Return what the history follows: of all tiers together."""
    tiers = registry.tiers()
    return {
        "hits": sum(tier.hits for tier in tiers),
        "misses": sum(tier.store.misses for tier in tiers),
        "fills": sum(tier.store.fills for tier in tiers),
        "invalidations": sum(tier.store.invalidations for tier in tiers),
        "evictions": sum(tier.store.evictions for tier in tiers),
        "commands_avoided": _avoided(),
        "stale_served": sum(tier.stale_served for tier in tiers),
    }


def channel_totals() -> dict[str, Any]:
    """Return how it is with the channels."""
    channels = registry.channels()
    return {
        "open": sum(channel.is_up for channel in channels),
        "connects": sum(channel.connects for channel in channels),
        "breakers": {guard.server: guard.state for guard in guards() if guard.state is not None},
    }


def clear() -> dict[str, int]:
    """Let go of all that this process keeps, and return how many entries that were."""
    tiers: list[Tier] = registry.tiers()
    entries = sum(tier.store.count_valid() for tier in tiers)
    for tier in tiers:
        tier.store.clear()
    if cache_cleared.receivers:
        cache_cleared.send_robust(sender=Tier, reason="asked")
    return {"entries": entries}


def _avoided() -> int:
    return sum(tier.commands_avoided for tier in registry.tiers())


register("caches", totals, series)
register("channels", channel_totals)
desk.register("clear", clear)
commands.avoids("caches", _avoided)
