"""The subject `cache` of the benchmark: its options, and how it is run."""

from __future__ import annotations

from argparse import BooleanOptionalAction
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import redis
from django.core.cache.backends.base import BaseCache
from django.core.management.base import CommandError, CommandParser
from django.utils.module_loading import import_string

from redis_optimizer.embedded import EmbeddedServer, ServerNotFound, ServerNotStarted
from redis_optimizer.management.benchmark.cache.plan import make_plan
from redis_optimizer.management.benchmark.cache.report import Report, render
from redis_optimizer.management.benchmark.cache.run import EXACT_TTL, Benchmark, Setup
from redis_optimizer.management.benchmark.cache.trace import TraceError, draw_trace, read_trace

__all__ = ["BOUNDS", "HELP", "add_arguments", "render", "run"]

HELP = "compare cache backends"
ZIPF, KEYS, REQUESTS = 0.9, 10_000, 50_000
# option: (lowest, highest) value that makes sense
BOUNDS: dict[str, tuple[float, float]] = {
    "zipf": (0, 10),
    "keys": (1, 10_000_000),
    "requests": (1, 100_000_000),
    "processes": (1, 256),
    "threads": (1, 256),
    "writes": (0, 100),
    "l1": (0.001, 100),
    "value_size": (0, 64 * 1024**2),
}


def add_arguments(parser: CommandParser) -> None:
    """Add the options."""
    add = parser.add_argument
    add("--trace", type=Path, metavar="FILE", help="keys, one a line; plain text or .gz")
    add("--zipf", type=float, help=f"without --trace: the exponent of Zipf's law ({ZIPF})")
    add("--keys", type=int, help=f"without --trace: the number of keys ({KEYS:,})")
    add("--requests", type=int, help=f"at most so many (all of a trace, or {REQUESTS:,})")
    add("--processes", type=int, default=4, help="that share the requests (4)")
    add("--threads", type=int, default=1, help="in each process (1)")
    add("--writes", type=float, default=2, help="percent of the requests that write (2)")
    add("--l1", type=float, default=10, help="MAX_ENTRIES in percent of the distinct keys (10)")
    add(
        "--exact-ttl",
        action="append",
        choices=list(EXACT_TTL),
        help="of TieredCache; each time it is given adds a row (auto)",
    )
    add(
        "--against",
        action="append",
        metavar="BACKEND",
        help="another cache backend, such as django.core.cache.backends.redis.RedisCache; it gets "
        "the server's URL as its LOCATION; each time it is given adds a row",
    )
    add("--value-size", type=int, default=400, help="bytes in each value (400)")
    add(
        "--preload",
        action=BooleanOptionalAction,
        default=True,
        help="put every key into Redis first; otherwise the first reader of a key writes it",
    )
    add("--seed", type=int, default=1, help="the same seed chooses the same requests (1)")
    add(
        "--url",
        help="a server to use, rather than one started for the purpose; its counters include "
        "what others send meanwhile, and keys go under redis_optimizer:benchmark:",
    )


def run(options: dict[str, Any], stream: TextIO | None) -> Report:
    """Run it.

    Args:
        stream: where progress goes; None shows none.

    Raises:
        CommandError: an option makes no sense, or no server can be used.
        WorkerError: a process failed.
        redis.RedisError: the server could not be reached.
    """
    for path in options["against"] or ():
        check_backend(path)
    trace, source = load_trace(options)
    plan = make_plan(
        trace,
        processes=options["processes"],
        writes=options["writes"],
        seed=options["seed"],
        preloaded=options["preload"],
    )
    with running_server(options["url"]) as url:
        setup = Setup(
            url=url,
            trace=source,
            writes_percent=options["writes"],
            l1_percent=options["l1"],
            threads=options["threads"],
            value_size=options["value_size"],
            seed=options["seed"],
            preload=options["preload"],
            exact_ttl=options["exact_ttl"] or ["auto"],
            against=options["against"] or (),
        )
        return Benchmark(plan, setup, stream).run()


def check_backend(path: str) -> None:
    """See to it that a path leads to a cache backend.

    Raises:
        CommandError: it does not.
    """
    try:
        found = import_string(path)
    except ImportError as error:
        raise CommandError(f"--against: {error}") from error
    if not (isinstance(found, type) and issubclass(found, BaseCache)):
        raise CommandError(f"--against: {path} is no cache backend")


def load_trace(options: dict[str, Any]) -> tuple[list[str], str]:
    """Return the requested keys in order, and what to call their source.

    Raises:
        CommandError: the trace cannot be used, or options contradict each other.
    """
    path, exponent, keys = options["trace"], options["zipf"], options["keys"]
    if path is None:
        exponent, keys = ZIPF if exponent is None else exponent, keys or KEYS
        trace = draw_trace(
            keys=keys,
            exponent=exponent,
            requests=options["requests"] or REQUESTS,
            seed=options["seed"],
        )
        return trace, f"Zipf {exponent:g} over {keys:,} keys"
    for name, value in (("--zipf", exponent), ("--keys", keys)):
        if value is not None:
            raise CommandError(f"{name} draws keys, so it cannot go with --trace")
    try:
        return read_trace(Path(path), limit=options["requests"]), Path(path).name
    except TraceError as error:
        raise CommandError(f"--trace: {error}") from error


@contextmanager
def running_server(url: str | None) -> Iterator[str]:
    """Yield the URL given, once it answered, or that of a server started for the purpose.

    REDIS_URL is not asked: a site sets it to the server that it works with.

    Raises:
        CommandError: no server could be reached or started.
    """
    if url is None:
        try:
            server = EmbeddedServer().start()
        except (ServerNotFound, ServerNotStarted) as error:
            raise CommandError(f"{error} Or give --url.") from error
        with server:
            yield server.url
        return
    try:
        with redis.Redis.from_url(url) as client:
            client.info("commandstats")
    except (redis.RedisError, ValueError) as error:
        raise CommandError(f"--url: {error}") from error
    yield url
