"""In-process stores alone: the share of a trace's requests that hit, and the time of a hit.

`python -m tests.benchmarks.caches.stores NAME` is the process of one of them.
"""

import contextlib
import os
import sys
import timeit
from collections.abc import Callable, Iterable
from math import inf
from pathlib import Path
from typing import Any

from redis_optimizer.management.benchmark.cache.trace import draw_trace, read_trace
from tests.benchmarks.peers.answers import answer
from tests.benchmarks.peers.child import Child, Failed
from tests.benchmarks.peers.environments import Environments, NotInstalled
from tests.benchmarks.peers.report import note

FOLDER = "REDIS_OPTIMIZER_TRACES"
SHARES = (0.01, 0.1)  # of the trace's keys that a store may hold
DRAWN = "Zipf 0.9"
QUICK = 5_000  # requests

Store = tuple[Callable[[str], bool], Callable[[str], None], Callable[[str], Any]]
"""Whether a key is there, what keeps one, and what a reader calls."""


def ours(size: int) -> Store:
    from redis_optimizer.core.store import LocalStore

    store = LocalStore(size, 2**60)
    store.open()

    def keep(key: str) -> None:
        store.fill(key, store.lease(key), key, None, 1, inf)

    return lambda key: store.find(key) is not None, keep, store.find


def locmem(size: int) -> Store:
    from django.conf import settings

    if not settings.configured:
        settings.configure()
    from django.core.cache.backends.locmem import LocMemCache

    cache = LocMemCache(f"of {size}", {"OPTIONS": {"MAX_ENTRIES": size}, "TIMEOUT": None})
    return lambda key: cache.get(key) is not None, lambda key: cache.set(key, key), cache.get


def cachebox(kind: str) -> Callable[[int], Store]:
    def make(size: int) -> Store:
        import cachebox

        cache = getattr(cachebox, kind)(size)
        return (
            lambda key: cache.get(key) is not None,
            lambda key: cache.insert(key, key),
            cache.get,
        )

    return make


def theine(size: int) -> Store:
    from theine import Cache

    cache = Cache(size)
    return lambda key: cache.get(key)[1], lambda key: cache.set(key, key), cache.get


STORES: dict[str, tuple[str | None, Callable[[int], Store]]] = {
    "LocalStore": (None, ours),
    "LocMemCache": (None, locmem),
    "cachebox LRUCache": ("cachebox", cachebox("LRUCache")),
    "cachebox LFUCache": ("cachebox", cachebox("LFUCache")),
    "theine": ("theine", theine),
}


def measure(names: Iterable[str], environments: Environments, *, quick: bool) -> dict[str, Any]:
    """Return a row for each store, and why others are absent."""
    rows: dict[str, Any] = {}
    absent: dict[str, str] = {}
    for name in names:
        note(f"store {name}")
        try:
            with Child(environments.python(STORES[name][0]), __name__, name) as child:
                rows[name] = child.ask("measure", quick=quick, within=600)
        except NotInstalled as reason:
            absent[name] = str(reason)
        except Failed as reason:
            rows[name] = {"failed": str(reason)}
    return {"stores": rows, "absent": absent}


def traces(quick: bool) -> dict[str, list[str]]:
    """Return the traces of the folder, or one that is drawn where there is none."""
    limit = QUICK if quick else None
    files = sorted(Path(os.environ[FOLDER]).glob("*.txt.gz")) if FOLDER in os.environ else []
    if not files:
        drawn = draw_trace(keys=20_000, exponent=0.9, requests=limit or 100_000, seed=1)
        return {DRAWN: drawn}
    return {file.name.partition(".")[0]: read_trace(file, limit=limit) for file in files}


def replay(name: str, quick: bool) -> dict[str, Any]:
    make = STORES[name][1]
    ratios = {}
    for trace, keys in traces(quick).items():
        for share in SHARES:
            size = max(int(len(set(keys)) * share), 1)
            there, keep, _ = make(size)
            hits = 0
            for key in keys:
                if there(key):
                    hits += 1
                else:
                    keep(key)
            ratios[f"{trace}, {share:.0%}"] = 100 * hits / len(keys)
    _, keep, get = make(1000)
    keep("key")
    timer = timeit.Timer('get("key")', globals={"get": get})
    calls = 2_000 if quick else 20_000
    hit = min(timer.repeat(15, calls)) / calls * 1e9
    return {"hit_ns": hit, "hit_percent": ratios}


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        answer({"measure": lambda quick: replay(sys.argv[1], quick)})
