"""Make sure that the suites run against an L1 that serves, not a cache that passes all on."""

import time
from collections.abc import Collection
from typing import Any

from django.core.cache import caches

TIMEOUT = 5.0  # seconds


def await_l1(without: Collection[str] = ()) -> None:
    """Start the L1 of every cache that has one, and wait until it answers reads."""
    for alias in set(caches) - set(without):
        cache: Any = caches[alias]
        tier = getattr(cache, "tier", None)
        if tier is None:
            continue
        assert tier.wait_ready(TIMEOUT)
        cache.set("upstream", 1)
        hits, deadline = tier.store.hits, time.monotonic() + TIMEOUT
        # The invalidation of the write above may still undo the first reads' fills.
        while tier.store.hits == hits:
            assert time.monotonic() < deadline, f"The L1 of {alias!r} does not serve"
            assert cache.get("upstream") == 1
        # The suites expect an empty database, without the probe of the channel.
        cache.client.get_client(write=True).flushdb()
