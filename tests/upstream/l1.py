"""Make sure that the suites test reads from L1, not a cache that passes everything on."""

from collections.abc import Collection

from django.core.cache import caches

from redis_optimizer.cache import registry

served = 0  # reads answered in process, in all tests so far


def await_ready(without: Collection[str] = ()) -> None:
    """Start the L1 of every cache that has one, and wait until it is used."""
    for alias in set(caches) - set(without):
        tier = getattr(caches[alias], "tier", None)
        if tier is not None:
            assert tier.wait_ready(5)


def count_served() -> None:
    """Add up what the test read from L1."""
    global served
    served += sum(tier.store.hits for tier in registry.tiers())
