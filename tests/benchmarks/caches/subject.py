"""The process of one contender: `python -m tests.benchmarks.caches.subject NAME URL`."""

import gc
import os
import sys
import time
from pathlib import Path
from typing import Any

from tests.benchmarks.caches.contenders import CONTENDERS, ENTRIES, caches
from tests.benchmarks.caches.timing import Awaited, Direct
from tests.benchmarks.peers.answers import answer

READY = 20.0  # seconds
VALUES: dict[str, Any] = {
    "str": "v" * 20,
    "dict": {
        "id": 17,
        "name": "n" * 120,
        "items": list(range(40)),
        "active": True,
        "nested": {"ratio": 1.5, "note": "o" * 90},
    },
}


def main() -> None:
    """Make the cache and answer."""
    name, url = sys.argv[1:]
    subject = Subject(make(name, url))
    names = (
        "each",
        "hold",
        "isolates",
        "loop",
        "memory",
        "preload",
        "throughput",
        "watch",
        "write",
    )
    answer({each: getattr(subject, each) for each in names} | {"ready": lambda: os.getpid()})


def make(name: str, url: str) -> Direct | Awaited:
    contender = CONTENDERS[name]
    if contender.backend:
        return Direct(make_django(name, url))
    return Awaited(lambda: make_cashews(url))


def make_django(name: str, url: str) -> Any:
    import django
    from django.conf import settings

    settings.configure(CACHES=caches(CONTENDERS[name], url))
    django.setup()
    from django.core.cache import caches as configured

    cache: Any = configured["default"]
    if name.startswith("tiered") and not cache.tier.wait_ready(READY):
        raise SystemExit("The tier did not become ready.")
    return cache


async def make_cashews(url: str) -> Any:
    from cashews import Cache
    from cashews.backends.memory import Memory

    cache = Cache()
    # With RESP3, redis-py's default, it hears of no write: its messages come as pushes.
    local = Memory(size=ENTRIES)
    cache.setup(url, client_side=True, client_side_prefix="peers:", local_cache=local, protocol=2)
    await cache.init()
    return cache


class Subject:
    """What is asked of a contender."""

    def __init__(self, cache: Direct | Awaited) -> None:
        self._cache = cache

    def hold(self, key: str, value: str) -> bool:
        """Set a key, and read it until it is surely in the process."""
        self._cache.set(key, VALUES[value])
        time.sleep(0.1)  # what the write itself makes invalid has arrived then
        for _ in range(20):
            found = self._cache.get(key)
        return bool(found == VALUES[value])

    def isolates(self) -> bool:
        """Tell whether a caller that changes what it was given leaves others alone."""
        self._cache.set("isolates", {"list": []})
        time.sleep(0.1)
        for _ in range(3):
            self._cache.get("isolates")["list"].append(1)
        return bool(self._cache.get("isolates") == {"list": []})

    def preload(self, prefix: str, count: int) -> None:
        """Set keys that another process will read."""
        for number in range(count):
            self._cache.set(f"{prefix}{number}", VALUES["str"])

    def each(self, operation: str, prefix: str, count: int) -> dict[str, float]:
        """Time each of so many calls.

        Args:
            operation: `hit` of one key, which is the prefix; `fill` of keys that were preloaded;
                `set` of one key.
        """
        fill = operation == "fill"
        keys = [f"{prefix}{number}" for number in range(count)] if fill else [prefix] * count
        began = time.process_time()
        took = sorted(self._cache.each(operation, keys, VALUES["str"]))
        cpu = time.process_time() - began
        return {
            "p50_us": took[count // 2] / 1000,
            "p99_us": took[count * 99 // 100] / 1000,
            "cpu_us": cpu / count * 1e6,
        }

    def loop(self, key: str, seconds: float, through: str) -> float | None:
        return self._cache.loop(key, seconds, through)

    def throughput(self, key: str, threads: int, seconds: float) -> float | None:
        return self._cache.throughput(key, threads, seconds)

    def memory(self, entries: int) -> float | None:
        """Return the resident bytes of an entry, its key of 13 characters and its value of 20."""
        keys = [f"memory:{number:06}" for number in range(entries)]
        self._cache.get("memory")
        gc.collect()
        before = resident()
        for key in keys:
            self._cache.set(key, "v" * 20)
        time.sleep(0.5)  # what the writes themselves make invalid has arrived then
        for key in keys:
            self._cache.get(key)
        gc.collect()
        after = resident()
        return None if before is None or after is None else (after - before) / entries

    def watch(self, key: str, last: int, seconds: float) -> dict[str, float]:
        """Return when each version was first seen, in seconds of the machine's clock."""
        seen = self._cache.watch(key, last, seconds)
        return {str(version): at for version, at in seen.items() if isinstance(version, int)}

    def write(self, key: str, last: int, rate: float) -> dict[str, float]:
        """Write the versions at a rate; return when each was acknowledged."""
        acknowledged = {}
        begin = time.monotonic()
        for number in range(1, last + 1):
            time.sleep(max(begin + number / rate - time.monotonic(), 0))
            self._cache.set(key, number)
            acknowledged[str(number)] = time.monotonic()
        return acknowledged


def resident() -> int | None:
    """Return the process's resident bytes, where the system tells."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    main()
