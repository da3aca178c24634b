"""A benchmark from preloading to the report."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TextIO

import redis
from django.core.cache.backends.base import BaseCache
from django.utils.module_loading import import_string

from redis_optimizer.management.benchmark.cache.fleet import Fleet
from redis_optimizer.management.benchmark.cache.plan import Plan
from redis_optimizer.management.benchmark.cache.report import Report, Row
from redis_optimizer.management.benchmark.cache.staleness import PRELOADED, Read, Write, find_stale
from redis_optimizer.management.benchmark.cache.worker import TIMEOUT, Order
from redis_optimizer.management.benchmark.progress import show_progress
from redis_optimizer.management.benchmark.server import CommandCounter

EXACT_TTL = {"auto": "auto", "true": True, "false": False}
CHUNK = 1000  # keys written or removed in one round trip
ENTRY_BYTES = 1024  # what an entry may cost beside its body; L1 is to be bounded by entries alone


@dataclass(frozen=True)
class Setup:
    """How the plan is replayed."""

    url: str
    trace: str  # what the report calls the plan's source
    writes_percent: float
    l1_percent: float
    threads: int
    value_size: int
    seed: int
    preload: bool
    exact_ttl: Sequence[str]  # keys of EXACT_TTL; each is one row
    against: Sequence[str] = ()  # dotted paths of other backends; each is one row


@dataclass(frozen=True)
class Contender:
    """One cache backend; the report has a row for each.

    Args:
        name: in the report.
        backend: dotted path.
        options: its OPTIONS.
        keeper: dotted path of the backend that writes its keys before it is measured.
    """

    name: str
    backend: str
    options: dict[str, Any] = field(default_factory=dict)
    keeper: str = "django_redis.cache.RedisCache"

    def open(self, url: str, prefix: str) -> BaseCache:
        """Return what writes its keys."""
        cache: BaseCache = import_string(self.keeper)(url, {"KEY_PREFIX": prefix})
        return cache


PLAIN = Contender("django-redis", "django_redis.cache.RedisCache")


class Benchmark:
    """Replays one plan against plain django-redis and against TieredCache.

    Args:
        plan: the requests.
        setup: the server and the settings of the caches.
        stream: where progress goes; None shows none.
    """

    def __init__(self, plan: Plan, setup: Setup, stream: TextIO | None) -> None:
        self.plan, self.setup, self.stream = plan, setup, stream
        self.entries = max(1, round(len(plan.keys) * setup.l1_percent / 100))
        self.body = "x" * setup.value_size

    def run(self) -> Report:
        """Run every contender, one after the other.

        Raises:
            WorkerError: a worker process failed.
            redis.RedisError: the server could not be reached.
        """
        others = [Contender(path, path, keeper=path) for path in self.setup.against]
        contenders = [PLAIN, *map(self.tiered, self.setup.exact_ttl), *others]
        with redis.Redis.from_url(self.setup.url) as client:
            counter = CommandCounter(client)
            rows = [self.run_row(contender, counter) for contender in contenders]
            server = counter.describe()
        floor = round(self.plan.floor * 1000 / self.plan.total, 1)
        return Report(self.describe(server), floor, rows)

    def tiered(self, exact_ttl: str) -> Contender:
        """Return a TieredCache with the given EXACT_TTL."""
        options = {
            "MAX_ENTRIES": self.entries,
            "MAX_BYTES": max(64 * 1024**2, self.entries * (self.setup.value_size + ENTRY_BYTES)),
            "EXACT_TTL": EXACT_TTL[exact_ttl],
            "START_AFTER": 0,
        }
        return Contender(
            f"TieredCache, EXACT_TTL {exact_ttl}",
            "redis_optimizer.cache.TieredCache",
            {"L1": options},
        )

    def run_row(self, contender: Contender, counter: CommandCounter) -> Row:
        """Replay the plan against one contender."""
        with self.prepared_keys(contender) as prefix:
            cache = {
                "BACKEND": contender.backend,
                "LOCATION": self.setup.url,
                "KEY_PREFIX": prefix,
                "OPTIONS": contender.options,
            }
            orders = [
                Order(
                    cache=cache,
                    keys=self.plan.keys,
                    requests=share,
                    threads=self.setup.threads,
                    body=self.body,
                )
                for share in self.plan.shares
            ]
            counter.lap()
            with (
                show_progress(contender.name, self.plan.total, self.stream) as advance,
                Fleet(orders, advance) as fleet,
            ):
                note = fleet.connect()
                connecting = counter.lap()
                results = fleet.run()
                commands = counter.lap()
        reads = [Read(*read) for result in results for read in result["reads"]]
        writes = [Write(*write) for result in results for write in result["writes"]]
        return Row(
            name=contender.name,
            commands=commands,
            connecting=connecting,
            latencies=sorted(read.latency for read in reads),
            stale=find_stale(reads, writes),
            requests=self.plan.total,
            note=note,
        )

    @contextmanager
    def prepared_keys(self, contender: Contender) -> Iterator[str]:
        """Yield a KEY_PREFIX under which the keys are preloaded; remove them afterwards.

        Each row has its own: a server in use keeps its data, and no row finds another's.
        """
        prefix = f"redis_optimizer:benchmark:{uuid.uuid4().hex[:8]}"
        direct = contender.open(self.setup.url, prefix)
        keys = self.plan.keys
        chunks = [keys[start : start + CHUNK] for start in range(0, len(keys), CHUNK)]
        value = {"version": PRELOADED, "body": self.body}
        try:
            if self.setup.preload:
                for chunk in chunks:
                    direct.set_many(dict.fromkeys(chunk, value), TIMEOUT)
            yield prefix
        finally:
            for chunk in chunks:
                direct.delete_many(chunk)
            direct.close()

    def describe(self, server: str) -> dict[str, Any]:
        """Return what the rows were measured on."""
        return {
            "trace": self.setup.trace,
            "requests": self.plan.total,
            "keys": len(self.plan.keys),
            "writes": self.plan.writes,
            "writes_percent": self.setup.writes_percent,
            "processes": len(self.plan.shares),
            "threads": self.setup.threads,
            "l1_entries": self.entries,
            "l1_percent": self.setup.l1_percent,
            "value_size": self.setup.value_size,
            "preload": self.setup.preload,
            "seed": self.setup.seed,
            "server": server,
        }
