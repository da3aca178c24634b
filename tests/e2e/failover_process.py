"""A process that reads or writes through caches under Sentinel, and tells its calls at the end.

``python -m tests.e2e.failover_process read|write PLAN``; PLAN is JSON, see `Plan`. It prints
"ready", works until its input ends or it reads `LAST`, and prints what it did as JSON.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import django
from django.conf import settings
from django.core.cache import caches
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

PREFIX = "t"
READY_WITHIN = 30.0  # seconds
READ_PAUSE = 0.01  # seconds between two reads
WRITE_PAUSE = 0.05  # and writes, so that most reads are answered by the process
LAST = 10**9  # greater than any number that is written


@dataclass(frozen=True)
class Plan:
    """What the processes of a run share.

    Attributes:
        name: Of the primary, as the Sentinels know it.
        sentinels: Where they are.
        timeout: Seconds that each step of a call may take: asking a Sentinel, connecting, waiting.
        l1: OPTIONS["L1"] of the cache with a tier.
    """

    name: str
    sentinels: list[tuple[str, int]]
    timeout: float
    l1: dict[str, Any]

    def as_json(self) -> str:
        return json.dumps(asdict(self))

    @property
    def attempt(self) -> float:
        """Seconds that one call may take before it fails."""
        return self.timeout * (len(self.sentinels) + 2)

    def caches(self) -> dict[str, Any]:
        """Return CACHES: "tiered" and, on a pool of its own, "plain"."""
        once = {"socket_timeout": self.timeout, "socket_connect_timeout": self.timeout}
        options: dict[str, Any] = {
            "CLIENT_CLASS": "django_redis.client.SentinelClient",
            "CONNECTION_FACTORY": "django_redis.pool.SentinelConnectionFactory",
            "SENTINELS": [tuple(address) for address in self.sentinels],
            "SENTINEL_KWARGS": {**once, "retry": Retry(NoBackoff(), 0)},
            "SOCKET_TIMEOUT": self.timeout,
            "SOCKET_CONNECT_TIMEOUT": self.timeout,
            # A call that fails is to be told, not sent again.
            "CONNECTION_POOL_KWARGS": {"retry": Retry(NoBackoff(), 0)},
        }
        return {
            "default": {"BACKEND": "redis_optimizer.cache.LocalCache"},
            "tiered": {
                "BACKEND": "redis_optimizer.cache.TieredCache",
                "LOCATION": f"redis://{self.name}/0",
                "KEY_PREFIX": PREFIX,
                "OPTIONS": {**options, "L1": self.l1},
            },
            "plain": {
                "BACKEND": "django_redis.cache.RedisCache",
                "LOCATION": f"redis://{self.name}/0?client_name=plain",
                "KEY_PREFIX": PREFIX,
                "OPTIONS": dict(options),
            },
        }


Write = tuple[float, int]
"""When it was acknowledged, by the monotonic clock, and the number."""


def read(stopping: threading.Event) -> dict[str, Any]:
    """Read what is written through the cache with a tier, and by others."""
    cache: Any = caches["tiered"]
    calls: list[tuple[float, int, int]] = []
    news = 0
    while news != LAST and not stopping.wait(READ_PAUSE):
        began = time.monotonic()
        try:
            number, news = cache.get("number", 0), cache.get("news", 0)
        except (RedisError, OSError):
            continue
        calls.append((began, number, news))
    return {"calls": calls, "hits": cache.tier.hits}


def write(stopping: threading.Event) -> dict[str, list[Write]]:
    """Write numbers through both caches, each in a thread of its own, as fast as the other."""
    written: dict[str, list[Write]] = {"tiered": [], "plain": []}
    threads = [
        threading.Thread(target=_write, args=(alias, calls, stopping))
        for alias, calls in written.items()
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return written


def _write(alias: str, calls: list[Write], stopping: threading.Event) -> None:
    cache = caches[alias]
    key = "number" if alias == "tiered" else "plain"
    number = 0
    while not stopping.wait(WRITE_PAUSE):
        number += 1
        try:
            # One transaction: the second key shows, at the end, which writes a server has seen.
            cache.set_many({key: number, f"{key}:{number}": 1})
            calls.append((time.monotonic(), number))
            cache.get(key)  # as a site does: a tier that is not read does not ask for its server
        except (RedisError, OSError):
            continue


ROLES: dict[str, Callable[[threading.Event], dict[str, Any]]] = {
    "read": read,
    "write": write,
}


def main(role: str, plan: str) -> None:
    settings.configure(INSTALLED_APPS=["redis_optimizer"], CACHES=Plan(**json.loads(plan)).caches())
    django.setup()
    cache: Any = caches["tiered"]
    assert cache.tier.wait_ready(READY_WITHIN), cache.tier.channel.last_error
    print("ready", flush=True)
    stopping = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), stopping.set()), daemon=True).start()
    print(json.dumps(ROLES[role](stopping)), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
