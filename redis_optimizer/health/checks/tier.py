"""What keeps the in-process tier of a cache coherent."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self

from django.core.cache import DEFAULT_CACHE_ALIAS, caches

from redis_optimizer.cache.tiered import TieredCache
from redis_optimizer.cache.writing import can_have_tier
from redis_optimizer.conf import get_settings
from redis_optimizer.health.base import Check, Degraded, Observed
from redis_optimizer.health.checks.redis import alias_name, aliases_of
from redis_optimizer.health.report import Observation
from redis_optimizer.internals import client_class
from redis_optimizer.switches import is_on

__all__ = ["CacheTier"]


@dataclass(frozen=True, kw_only=True)
class CacheTier(Check):
    """The in-process tier of a cache hears of writes. No command is sent.

    A process that has not read yet has not started its tier, and is not made to. Left to itself it
    checks all caches with a tier.

    Args:
        alias: Of the cache.
    """

    critical: bool = False
    alias: str = DEFAULT_CACHE_ALIAS

    @classmethod
    def instances(cls, **options: Any) -> Iterable[Self]:
        """Return one check for each tier, or that of the alias that is named."""
        aliases = [options.pop("alias")] if "alias" in options else _aliases()
        return [cls(alias=alias, **options) for alias in aliases]

    @property
    def name(self) -> str:
        """``cache-tier``, with the alias where that is not the default."""
        return alias_name("cache-tier", self.alias)

    def run(self) -> Observed:
        """Look at the tier of this process.

        Raises:
            Degraded: when each read goes to Redis, or is kept for a short time only.
        """
        backend: Any = caches[self.alias]
        tier = backend.tier
        stats = tier.stats()
        observed = {
            "staleness_bound": Observation(stats["staleness_bound"], "s"),
            "entries": Observation(stats["total_entries"], "entries"),
            "bytes": Observation(stats["bytes"], "bytes"),
            "hit_ratio": Observation(round(stats["hit_ratio"], 4)),
        }
        if not is_on("cache"):
            return {**observed, "state": "switched off"}
        if tier.refused:
            raise Degraded(f"The server does not tell of writes: {tier.refused}", observed)
        # A channel that is on its way up for the first time has not failed.
        if tier.channel is not None and not tier.ready and tier.channel.last_error:
            raise Degraded(f"Writes are not heard of: {tier.channel.last_error}", observed)
        return observed if tier.ready else {**observed, "state": "not started"}


def _aliases() -> list[str]:
    if not get_settings().ENABLED:
        return []
    found = [alias for alias, _ in aliases_of(TieredCache)]
    return [alias for alias in found if _has_tier(caches[alias])]


def _has_tier(backend: Any) -> bool:
    return can_have_tier(client_class(backend)) and bool(backend.stats())
