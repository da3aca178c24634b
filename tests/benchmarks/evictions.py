"""Time how long after a write was acknowledged another process still holds the old value.

    python -m tests.benchmarks.evictions [--rate 200] [--writes 2000] [--threads 8] [--json]

A writer process sets keys at a steady rate; this one holds them all, with idle threads beside the
channel's. Negative: gone before the writer got its reply.
"""

import argparse
import json
import subprocess
import sys
import threading
import time
from typing import Any

import django
import redis
from django.conf import settings
from django.core.cache import caches

from redis_optimizer.embedded import running_server

PREFIX = "evictions"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rate", type=int, default=200, help="writes per second")
    parser.add_argument("--writes", type=int, default=2000)
    parser.add_argument("--threads", type=int, default=8, help="idle threads in the reader")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--write-to", metavar="URL", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.write_to:
        write(arguments.write_to, arguments.writes, arguments.rate)
        return
    with running_server() as url:
        late = measure(url, arguments.writes, arguments.rate, arguments.threads)
    figures = {
        "writes": arguments.writes,
        "rate_per_s": arguments.rate,
        "p50_ms": quantile(late, 0.5),
        "p99_ms": quantile(late, 0.99),
        "p99.9_ms": quantile(late, 0.999),
        "max_ms": late[-1],
        "before_the_reply": sum(value < 0 for value in late) / len(late),
    }
    if arguments.json:
        print(json.dumps(figures))
        return
    for name, figure in figures.items():
        print(
            f"{name:<18} {figure:>10.3f}"
            if isinstance(figure, float)
            else f"{name:<18} {figure:>10}"
        )


def measure(url: str, writes: int, rate: int, threads: int) -> list[float]:
    """Return, sorted and in milliseconds, how late each key was let go."""
    settings.configure(
        CACHES={
            "default": {
                "BACKEND": "redis_optimizer.cache.TieredCache",
                "LOCATION": url,
                "KEY_PREFIX": PREFIX,
                "OPTIONS": {"L1": {"MAX_ENTRIES": 2 * writes}},
            }
        }
    )
    django.setup()
    cache: Any = caches["default"]
    if not cache.tier.wait_ready(10):
        raise SystemExit("The tier did not become ready.")
    keys = [str(number) for number in range(writes)]
    cache.set_many(dict.fromkeys(keys, 0))
    cache.get_many(keys)
    gone: dict[str, float] = {}
    done = threading.Event()
    told = cache.tier.on_invalidated

    def note(finals: list[str] | None) -> None:
        told(finals)
        now = time.monotonic()
        for final in finals or ():
            gone[final.rsplit(":", 1)[1]] = now
        if len(gone) >= writes:
            done.set()

    cache.tier.on_invalidated = note
    idle = [threading.Thread(target=done.wait, daemon=True) for _ in range(threads)]
    for thread in idle:
        thread.start()
    command = [sys.executable, "-m", __spec__.name, "--write-to", url]
    command += ["--writes", str(writes), "--rate", str(rate)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    if not done.wait(10):
        raise SystemExit(f"{writes - len(gone)} keys were never let go.")
    acknowledged = json.loads(output)
    return sorted((gone[key] - acknowledged[key]) * 1000 for key in keys)


def write(url: str, writes: int, rate: int) -> None:
    """Set the keys one by one, and print when each reply came."""
    client = redis.Redis.from_url(url)
    acknowledged = {}
    begin = time.monotonic()
    for number in range(writes):
        time.sleep(max(begin + number / rate - time.monotonic(), 0))
        client.set(f"{PREFIX}:1:{number}", number)
        acknowledged[str(number)] = time.monotonic()
    print(json.dumps(acknowledged))


def quantile(ordered: list[float], share: float) -> float:
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]


if __name__ == "__main__":
    main()
