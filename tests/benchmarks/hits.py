"""Time a hit of TieredCache beside one of Django's LocMemCache, in one process and one run.

python -m tests.benchmarks.hits [--json]
"""

import argparse
import json
import platform
import timeit
from collections.abc import Callable
from typing import Any

import django
from django.conf import settings
from django.core.cache import caches

from redis_optimizer.embedded import running_server

CALLS = 20_000
ROUNDS = 15

VALUES: dict[str, Any] = {
    "str": "v" * 20,
    "dict of 400 bytes": {
        "id": 17,
        "name": "n" * 120,
        "items": list(range(40)),
        "active": True,
        "nested": {"ratio": 1.5, "note": "o" * 90},
    },
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    with running_server() as url:
        configure(url)
        rows = measure()
    if arguments.json:
        print(json.dumps({"python": platform.python_version(), "rows": rows}))
        return
    print(f"Python {platform.python_version()}, Django {django.__version__}; ns per hit, best of")
    print(f"{ROUNDS} rounds of {CALLS:,} calls, the two caches taking turns.\n")
    print(f"{'through':<12} {'value':<20} {'LocMemCache':>12} {'TieredCache':>12} {'ratio':>7}")
    for row in rows:
        print(
            f"{row['through']:<12} {row['value']:<20} {row['locmem_ns']:>12.0f} "
            f"{row['tiered_ns']:>12.0f} {row['ratio']:>6.1f}x"
        )


def configure(url: str) -> None:
    settings.configure(
        CACHES={
            "default": {"BACKEND": "redis_optimizer.cache.TieredCache", "LOCATION": url},
            "locmem": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
        }
    )
    django.setup()


def measure() -> list[dict[str, Any]]:
    tiered: Any = caches["default"]
    if not tiered.tier.wait_ready(10):
        raise SystemExit("The tier did not become ready.")
    rows = []
    for name, value in VALUES.items():
        for alias in ("default", "locmem"):
            caches[alias].set("key", value, 600)
            caches[alias].get("key")
        rows.append(row("backend", name, backend_hit))
        rows.append(row("caches[...]", name, handler_hit))
    return rows


def row(through: str, value: str, hit: Callable[[str], timeit.Timer]) -> dict[str, Any]:
    timers = {alias: hit(alias) for alias in ("locmem", "default")}
    best = dict.fromkeys(timers, float("inf"))
    for _ in range(ROUNDS):
        for alias, timer in timers.items():
            best[alias] = min(best[alias], timer.timeit(CALLS) / CALLS * 1e9)
    return {
        "through": through,
        "value": value,
        "locmem_ns": best["locmem"],
        "tiered_ns": best["default"],
        "ratio": best["locmem"] / best["default"],
    }


def backend_hit(alias: str) -> timeit.Timer:
    return timeit.Timer('get("key")', globals={"get": caches[alias].get})


def handler_hit(alias: str) -> timeit.Timer:
    return timeit.Timer(f'caches["{alias}"].get("key")', globals={"caches": caches})


if __name__ == "__main__":
    main()
