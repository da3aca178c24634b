"""One process of a run: threads that read and write the same few keys as fast as they can."""

from __future__ import annotations

import faulthandler
import pickle
import random
import time
import traceback
from math import inf
from multiprocessing.synchronize import Barrier
from pathlib import Path
from threading import Thread
from typing import Any

from .caches import (
    RawCache,
    SlowConnection,
    configure,
    document,
    open_cache,
    version_of,
    wait_until_ready,
)
from .history import ABSENT, STRIDE, UNKNOWN, History
from .plan import RAW, TIERED, Plan

PATIENCE = 60.0  # seconds that processes wait for each other, and for threads beyond their time
AFTER_ERROR = 0.01  # seconds between a failed call and the next: nobody is there to answer
# In relation to each other.
READS = {"get": 6, "get_many": 1, "get_or_set": 2}
WRITES = {"set": 4, "set_many": 1, "incr": 4, "delete": 1}


class Visitor(Thread):
    """A thread that makes random calls and writes them down."""

    def __init__(self, plan: Plan, role: str, url: str, number: int) -> None:
        super().__init__(daemon=True)
        self.plan, self.role, self.url = plan, role, url
        self.number = number
        self.random = random.Random(plan.seed * 1000 + number)
        self.history = History()
        self.set_so_far = 0
        self.until = 0.0

    def run(self) -> None:
        cache = open_cache(self.role, self.url)
        calls = {name: getattr(self, name) for name in (*READS, *WRITES)}
        writes_share = self.plan.writes if self.role in self.plan.writers else 0.0
        reads, writes = list(READS), list(WRITES)
        read_weights, write_weights = list(READS.values()), list(WRITES.values())
        while time.monotonic() < self.until:
            time.sleep(self.random.expovariate(1 / self.plan.pause))
            if self.random.random() < writes_share:
                [name] = self.random.choices(writes, write_weights)
            else:
                [name] = self.random.choices(reads, read_weights)
            try:
                calls[name](cache)
            except Exception as error:
                self.history.errors[name_of(error)] += 1
                time.sleep(AFTER_ERROR)

    # Each of the keys holds one kind of value

    def any_key(self) -> int:
        return self.random.randrange(self.plan.keys)

    def new_value(self, key: int) -> tuple[int, Any]:
        """Return a version that nobody else uses, and the value that carries it."""
        version = (self.set_so_far * self.plan.visitors + self.number + 1) << STRIDE
        self.set_so_far += 1
        return version, document(version) if key % 2 else version

    # Reading

    def get(self, cache: Any) -> None:
        key = self.any_key()
        start = time.monotonic()
        value = cache.get(f"k{key}")
        end = time.monotonic()
        self.history.reads.add(start, end, key, version_of(value))

    def get_many(self, cache: Any) -> None:
        keys = self.random.sample(range(self.plan.keys), 4)
        start = time.monotonic()
        values = cache.get_many([f"k{key}" for key in keys])
        end = time.monotonic()
        for key in keys:
            self.history.reads.add(start, end, key, version_of(values.get(f"k{key}")))

    def get_or_set(self, cache: Any) -> None:
        if self.role == RAW:
            self.get(cache)
            return
        key = self.any_key()
        version, value = self.new_value(key)
        start = time.monotonic()

        def make() -> Any:
            # Somebody else may be faster, so it is written down as a write that may have failed.
            self.history.writes.add(start, inf, key, version)
            return value

        found = cache.get_or_set(f"k{key}", make)
        self.history.reads.add(start, time.monotonic(), key, version_of(found))

    # Writing. What failed may have been applied all the same: its end stays infinite.

    def set(self, cache: Any) -> None:
        key = self.any_key()
        version, value = self.new_value(key)
        with Noted(self.history, {key: version}):
            cache.set(f"k{key}", value)

    def set_many(self, cache: Any) -> None:
        keys = self.random.sample(range(self.plan.keys), 3)
        new = {key: self.new_value(key) for key in keys}
        with Noted(self.history, {key: version for key, (version, _) in new.items()}):
            cache.set_many({f"k{key}": value for key, (_, value) in new.items()})

    def incr(self, cache: Any) -> None:
        key = self.any_key() & ~1
        with Noted(self.history, {key: UNKNOWN}) as noted:
            try:
                noted.versions[key] = cache.incr(f"k{key}")
            except ValueError:
                noted.versions.clear()  # there was nothing to increment

    def delete(self, cache: Any) -> None:
        key = self.any_key()
        with Noted(self.history, {key: ABSENT}):
            cache.delete(f"k{key}")


def name_of(error: Exception) -> str:
    """Return what an error is called; of a mistake in a program, also in which file it is."""
    name = type(error).__name__
    if type(error).__module__ != "builtins" or isinstance(error, OSError):
        return name
    innermost = Path(traceback.extract_tb(error.__traceback__)[-1].filename)
    return f"{name} in {innermost.parent.name}/{innermost.name}"


class Noted:
    """Writes down when the write inside the block began, and when it was acknowledged."""

    def __init__(self, history: History, versions: dict[int, int]) -> None:
        self.history, self.versions = history, versions

    def __enter__(self) -> Noted:
        self.start = time.monotonic()
        return self

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        end = time.monotonic() if error is None else inf
        for key, version in self.versions.items():
            self.history.writes.add(self.start, end, key, version)


def work(plan: Plan, number: int, url: str, gate: Barrier, folder: str) -> None:
    """Take part in a run; the entry of a process.

    Args:
        plan: The run.
        number: Which of the plan's processes this is.
        url: The server.
        gate: Holds all processes together: at the start, and after the last write.
        folder: Where to leave what happened.
    """
    faulthandler.dump_traceback_later(plan.seconds + 2 * PATIENCE, exit=True)
    try:
        result = take_part(plan, number, url, gate)
    except BaseException:
        gate.abort()  # nobody shall wait for this process
        raise
    Path(folder, f"{number}.pickle").write_bytes(pickle.dumps(result))
    faulthandler.cancel_dump_traceback_later()


def take_part(plan: Plan, number: int, url: str, gate: Barrier) -> dict[str, Any]:
    role = plan.roles[number]
    configure(plan, role, url)
    cache = open_cache(role, url)
    wait_until_ready(cache)
    visitors = [
        Visitor(plan, role, url, number * plan.threads + index) for index in range(plan.threads)
    ]
    gate.wait(PATIENCE)
    start = time.monotonic()
    SlowConnection.deaf = (start + 0.5, start + 0.5 + plan.deaf)
    until = start + plan.seconds
    for visitor in visitors:
        visitor.until = until
        visitor.start()
    history = History()
    for visitor in visitors:
        visitor.join(plan.seconds + PATIENCE)
        assert not visitor.is_alive(), "a thread hangs"
        history.extend(visitor.history)
    gate.wait(PATIENCE)
    # A grace time and not a condition: from here on nothing changes, so that whatever has not
    # arrived by its end counts as lost.
    time.sleep(plan.grace)
    return {
        "history": history,
        "differing": compare(cache, RawCache(url), plan.keys),
        "hit_ratio": cache.stats()["hit_ratio"] if role == TIERED else 0.0,
    }


def compare(cache: Any, truth: RawCache, keys: int) -> list[str]:
    """Name each key that reads otherwise than it is stored in Redis, with both versions."""
    differing = []
    for key in (f"k{number}" for number in range(keys)):
        seen, stored = version_of(cache.get(key)), version_of(truth.get(key))
        if seen != stored:
            differing.append(f"{key}: {seen}, stored {stored}")
    return differing
