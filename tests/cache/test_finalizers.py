"""A site's finalizer may use the cache, wherever the garbage collector runs it."""

import gc
import threading
from collections.abc import Callable, Iterator

from django.test import override_settings

from redis_optimizer.cache import TieredCache
from redis_optimizer.cache.outage import guards

from .caches import tiered

TIMES = 30
WITHIN = 60.0  # seconds


class Litter:
    """Does something when it is collected, and leaves another one behind."""

    def __init__(self, act: Callable[[], object], left: Iterator[int]) -> None:
        self.itself = self  # so that only the collector frees it
        self.act = act
        self.left = left

    def __del__(self) -> None:
        if next(self.left, None) is not None:
            Litter(self.act, self.left)
            self.act()


def run_amid_litter(work: Callable[[], object], act: Callable[[], object]) -> None:
    """Work in a thread while finalizers run again and again, wherever that may be."""

    left = iter(range(1000))

    def run() -> None:
        Litter(act, left)
        for _ in range(TIMES):
            work()

    gc.collect()
    thresholds = gc.get_threshold()
    gc.set_threshold(1)
    try:
        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        thread.join(WITHIN)
        assert not thread.is_alive()
    finally:
        gc.set_threshold(*thresholds)
        list(left)  # no more of it


def test_while_others_are_loaded(cache: TieredCache) -> None:
    def load(key: str) -> None:
        cache.get_or_set(key, 1)
        cache.delete(key)

    run_amid_litter(lambda: load("k"), lambda: load("other"))


def test_while_the_server_is_pinged(cache: TieredCache) -> None:
    def read_lapsed() -> None:
        cache.tier.store.valid_until = 0.0
        cache.get("k")

    run_amid_litter(read_lapsed, lambda: cache.get("other"))


def test_while_the_server_is_not_asked(url: str) -> None:
    with override_settings(REDIS_OPTIMIZER={"BREAKER_AFTER": 1}):
        cache = tiered(url, IGNORE_EXCEPTIONS=True)
        cache.get("k")
        (guard,) = guards()
        breaker = guard._breaker
        assert breaker is not None

        def ask() -> None:
            breaker.fail(breaker.now(), "as if it were gone")
            breaker._backoff._until = float("inf")
            cache.get("k")
            breaker.succeed()

        run_amid_litter(ask, lambda: cache.get("other"))
