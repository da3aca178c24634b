"""Time what counting costs: each call beside the same without the lines that count, in one run.

    python -m tests.benchmarks.counting [--json] [--check]

The build without them is made here, from the source of the methods. With --check it exits with 1
unless a counter on the path of a hit costs at most 25 ns or 12 % of the hit.
"""

import argparse
import inspect
import json
import platform
import textwrap
import timeit
from types import SimpleNamespace
from typing import Any

import django
import redis
from django.conf import settings
from django.core.cache import caches

from redis_optimizer.embedded import running_server

ROUNDS = 400  # short ones: on a busy machine each build needs a quiet moment
MOST_NS, MOST_SHARE = 25, 0.12
KNOWN = [f"known:{number}" for number in range(10)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a hit pays too much")
    arguments = parser.parse_args()
    with running_server() as url:
        configure(url)
        rows = measure(url)
    if arguments.json:
        print(json.dumps({"python": platform.python_version(), "rows": rows}))
    else:
        print(f"Python {platform.python_version()}, Django {django.__version__}; ns per call, best")
        print(f"of {ROUNDS} rounds, the two builds taking turns.\n")
        print(f"{'call':<46} {'counted':>10} {'without':>10} {'added':>8} {'share':>8}")
        for row in rows:
            print(
                f"{row['call']:<46} {row['counted_ns']:>10,.0f} {row['without_ns']:>10,.0f} "
                f"{row['added_ns']:>8,.0f} {as_share(row)}"
            )
    hit = next(row for row in rows if row["call"] == "a hit")
    if arguments.check and hit["added_ns"] > MOST_NS and hit["share"] > MOST_SHARE:
        raise SystemExit(1)


def as_share(row: dict[str, Any]) -> str:
    # Of next to nothing it would say nothing.
    return f"{100 * row['share']:>6.1f} %" if row["share"] < 10 else f"{'-':>8}"


def configure(url: str) -> None:
    settings.configure(
        SESSION_COOKIE_NAME="sessionid",
        CACHES={"default": {"BACKEND": "redis_optimizer.cache.TieredCache", "LOCATION": url}},
    )
    django.setup()


def measure(url: str) -> list[dict[str, Any]]:
    cache: Any = caches["default"]
    if not cache.tier.wait_ready(10):
        raise SystemExit("The tier did not become ready.")
    cache.set_many(dict.fromkeys(KNOWN, "v"), 600)
    cache.get_many(KNOWN)
    for key in KNOWN:
        cache.get(key)
    return [
        hit(cache, "a hit, the same build twice"),
        hit(cache, "a hit", "store.hits += 1.0"),
        hits(cache),
        row("a hit of a request that is measured", measured(cache), measured(cache, False), 1_000),
        miss(url),
        write(url),
        request(),
    ]


def hit(cache: Any, call: str, *lines: str) -> dict[str, Any]:
    builds = [twin(cache, get=compiled(type(cache).get, *given)).get for given in ((), lines)]
    return row(call, *(timed('get("known:0")', get=get) for get in builds), calls=4_000)


def hits(cache: Any) -> dict[str, Any]:
    """A get_many of ten known keys: each is a hit, and they are one call."""
    from redis_optimizer.core.store import LocalStore

    counted = twin(cache)
    look = compiled(type(cache)._look_many, "tier.count_many(len(keys) - len(absent)")
    plain = twin(cache, _look_many=look)
    find = compiled(LocalStore.find, "self.hits += 1.0")
    # Not a copy: to look into an object's __dict__ makes CPython's access to it slower for good.
    plain._store = store = type("Plain", (LocalStore,), {"find": find})()
    store.open()
    for final in map(cache.make_key, KNOWN):
        store.fill(final, store.lease(final), "v", None, 1, float("inf"))
    builds = (counted.get_many, plain.get_many)
    return row("a get_many of 10 hits", *(timed("get(keys)", get=get) for get in builds), calls=200)


def measured(cache: Any, is_measured: bool = True) -> timeit.Timer:
    """Return a hit in a request that somebody with a session makes."""
    from redis_optimizer.cache.measured import CountedStore
    from redis_optimizer.stats.costs import Costs

    made = twin(cache)
    if is_measured:
        made._store = CountedStore(cache._store, Costs())
    return timed('get("known:0")', get=made.get)


def miss(url: str) -> dict[str, Any]:
    return row("a GET", *(timed('get("a")', get=each.get) for each in clients(url)), calls=20)


def write(url: str) -> dict[str, Any]:
    return row("a SET", *(timed('set("a", 1)', set=each.set) for each in clients(url)), calls=20)


def clients(url: str) -> list[redis.Redis]:
    """Return a client whose commands are counted, and one that is as redis-py makes it."""
    from redis_optimizer.connections import count_pool

    made = [redis.Redis.from_url(url) for _ in range(2)]
    count_pool(made[0].connection_pool, "cache")
    return made


def request() -> dict[str, Any]:
    """What the middleware counts of a request without a session."""
    from redis_optimizer.middleware.watch import Watch

    asked: Any = SimpleNamespace(META={}, resolver_match=SimpleNamespace(view_name="view"))
    answer: Any = SimpleNamespace(status_code=200)

    def watch() -> None:
        Watch(asked).end(answer)

    return row("what is counted of a request", timeit.Timer(watch), timed("None"), calls=500)


def row(call: str, counted: timeit.Timer, without: timeit.Timer, calls: int) -> dict[str, Any]:
    timers = {"counted": counted, "without": without}
    best = dict.fromkeys(timers, float("inf"))
    for _ in range(ROUNDS):
        for build, timer in timers.items():
            best[build] = min(best[build], timer.timeit(calls) / calls * 1e9)
    added = best["counted"] - best["without"]
    return {
        "call": call,
        "counted_ns": best["counted"],
        "without_ns": best["without"],
        "added_ns": added,
        "share": added / best["without"],
    }


def timed(statement: str, **names: Any) -> timeit.Timer:
    return timeit.Timer(statement, globals=names | {"keys": KNOWN})


def twin(cache: Any, **methods: Any) -> Any:
    """Return a cache with the same tier, and methods in the place of its own."""
    made = object.__new__(type("Twin", (type(cache),), methods))
    made.__dict__.update(cache.__dict__)
    return made


def compiled(function: Any, *lines: str) -> Any:
    """Return a method made of its source anew, without the statements that begin as given.

    Raises:
        SystemExit: when the source has no such line, or several.
    """
    source = textwrap.dedent(inspect.getsource(function))
    for line in lines:
        found = [text for text in source.splitlines(keepends=True) if line.strip() in text]
        if len(found) != 1:
            raise SystemExit(f"{function.__qualname__} has no line {line!r} to leave out.")
        source = source.replace(found[0], found[0].replace(found[0].strip(), "pass"))
    cell = inspect.getclosurevars(function).nonlocals.get("__class__")  # for super()
    maker = f"def make(__class__):\n{textwrap.indent(source, '    ')}"
    maker += f"    return {function.__name__}\n"
    namespace: dict[str, Any] = {}
    exec(compile(maker, f"<{function.__qualname__}>", "exec"), function.__globals__, namespace)
    return namespace["make"](cell)


if __name__ == "__main__":
    main()
