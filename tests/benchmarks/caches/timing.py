"""Calls of a cache, timed: of one whose methods are called, and of one whose are awaited."""

import asyncio
import threading
import time
import timeit
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any

LIFETIME = 600  # seconds
STEP = 0.0005  # seconds between two looks at a key that another process writes
BLOCK = 0.001  # seconds
STATEMENTS = {
    "constant": 'get("{key}")',
    "fresh": 'get(f"{{head}}-{tail}")',  # the key is made for each hit
    "handler": 'caches["default"].get("{key}")',
}
Seen = dict[int, float]


def best(run: Callable[[int], float], seconds: float) -> float:
    """Return the nanoseconds of a call, in the best of many blocks.

    All take as long, however fast the cache is: a long block is interrupted on a busy machine, and
    a short one is not.

    Args:
        run: does so many calls, and returns the seconds that they took.
        seconds: for all blocks.
    """
    run(10)
    calls = max(round(BLOCK / run(10) * 10), 1)
    end, least = time.perf_counter() + seconds, float("inf")
    while time.perf_counter() < end:
        least = min(least, run(calls) / calls)
    return least * 1e9


class Direct:
    """A cache of Django's."""

    def __init__(self, cache: Any) -> None:
        self.get: Callable[[str], Any] = cache.get
        self._set = cache.set

    def set(self, key: str, value: Any) -> None:
        self._set(key, value, LIFETIME)

    def each(self, operation: str, keys: Sequence[str], value: Any) -> list[int]:
        """Return the nanoseconds of each call, with those that the clock takes itself."""
        clock, took = time.perf_counter_ns, []
        get, write = self.get, self._set
        for key in keys:
            if operation == "set":
                began = clock()
                write(key, value, LIFETIME)
            else:
                began = clock()
                get(key)
            took.append(clock() - began)
        return took

    def loop(self, key: str, seconds: float, through: str) -> float | None:
        """Return the nanoseconds of a hit, through one of `STATEMENTS`."""
        from django.core.cache import caches

        head, _, tail = key.partition("-")
        names = {"get": self.get, "head": head, "caches": caches}
        statement = STATEMENTS[through].format(key=key, tail=tail)
        return best(timeit.Timer(statement, globals=names).timeit, seconds)

    def throughput(self, key: str, threads: int, seconds: float) -> float | None:
        """Return the hits a second that so many threads have together."""
        get, counts, end = self.get, [0] * threads, [False]
        barrier = threading.Barrier(threads + 1)

        def work(place: int) -> None:
            done = 0
            barrier.wait()
            while not end[0]:
                for _ in range(50):
                    get(key)
                done += 50
            counts[place] = done

        workers = [threading.Thread(target=work, args=(place,)) for place in range(threads)]
        for worker in workers:
            worker.start()
        barrier.wait()
        began = time.perf_counter()
        time.sleep(seconds)
        end[0] = True
        for worker in workers:
            worker.join()
        return sum(counts) / (time.perf_counter() - began)

    def watch(self, key: str, last: int, seconds: float) -> Seen:
        """Return when each version of a key was first seen; ends with the last, or in time."""
        seen: Seen = {}
        deadline = time.monotonic() + seconds
        while last not in seen and time.monotonic() < deadline:
            seen.setdefault(self.get(key), time.monotonic())
            time.sleep(STEP)
        return seen


class Awaited:
    """A cache whose methods are coroutines, in one event loop."""

    def __init__(self, make: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        self._loop = asyncio.new_event_loop()
        self._cache = self._run(make())

    def get(self, key: str) -> Any:
        return self._run(self._cache.get(key))

    def set(self, key: str, value: Any) -> None:
        self._run(self._cache.set(key, value, expire=LIFETIME))

    def each(self, operation: str, keys: Sequence[str], value: Any) -> list[int]:
        return self._run(self._each(operation, keys, value))

    async def _each(self, operation: str, keys: Iterable[str], value: Any) -> list[int]:
        clock, took = time.perf_counter_ns, []
        get, write = self._cache.get, self._cache.set
        for key in keys:
            if operation == "set":
                began = clock()
                await write(key, value, expire=LIFETIME)
            else:
                began = clock()
                await get(key)
            took.append(clock() - began)
        return took

    def loop(self, key: str, seconds: float, through: str) -> float | None:
        if through == "handler":
            return None  # Django knows nothing of it
        fresh = through == "fresh"
        return best(lambda calls: self._run(self._hits(key, calls, fresh)), seconds)

    async def _hits(self, key: str, calls: int, fresh: bool) -> float:
        head, _, tail = key.partition("-")
        get = self._cache.get
        began = time.perf_counter()
        for _ in range(calls):
            await get(f"{head}-{tail}" if fresh else key)
        return time.perf_counter() - began

    def throughput(self, key: str, threads: int, seconds: float) -> float | None:
        return self._run(self._count(key, seconds)) if threads == 1 else None  # it has one loop

    async def _count(self, key: str, seconds: float) -> float:
        done, get, began = 0, self._cache.get, time.perf_counter()
        while (passed := time.perf_counter() - began) < seconds:
            for _ in range(50):
                await get(key)
            done += 50
        return done / passed

    def watch(self, key: str, last: int, seconds: float) -> Seen:
        return self._run(self._watch(key, last, seconds))

    async def _watch(self, key: str, last: int, seconds: float) -> Seen:
        seen: Seen = {}
        deadline = time.monotonic() + seconds
        while last not in seen and time.monotonic() < deadline:
            seen.setdefault(await self._cache.get(key), time.monotonic())
            await asyncio.sleep(STEP)
        return seen

    def _run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return self._loop.run_until_complete(coroutine)
