"""The subject `endpoints` of the benchmark: its options, and how it is run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TextIO

from django.conf import settings
from django.core.management.base import CommandError, CommandParser
from django.urls import NoReverseMatch, reverse

from redis_optimizer.conf import cache_settings
from redis_optimizer.management.benchmark.endpoints.report import Report, render
from redis_optimizer.management.benchmark.endpoints.run import Benchmark, Setup
from redis_optimizer.management.benchmark.endpoints.worker import can_move

__all__ = ["BOUNDS", "HELP", "add_arguments", "render", "run"]

HELP = "compare endpoints of this project with and without their decorators, on its database"
# option: (lowest, highest) value that makes sense
BOUNDS: dict[str, tuple[float, float]] = {
    "clients": (1, 100_000),
    "interval": (0.01, 86_400),
    "seconds": (0.1, 86_400),
    "threads": (1, 256),
}


def add_arguments(parser: CommandParser) -> None:
    """Add the options."""
    add = parser.add_argument
    add(
        "--path",
        action="append",
        help="what the clients ask for, such as /api/health; may be given several times "
        "(health/ of redis_optimizer.urls)",
    )
    add("--clients", type=int, default=50, help="that poll (50)")
    add("--interval", type=float, default=30, help="seconds between two polls of a client (30)")
    add("--seconds", type=float, default=600, help="how long they go on (600)")
    add("--threads", type=int, default=8, help="of the web process (8)")
    add("--host", help="what the requests are for (the first of ALLOWED_HOSTS)")
    add("--cookie", default="", help="a Cookie header, such as 'sessionid=...' of staff")
    add("--seed", type=int, default=1, help="the same seed chooses the same moments (1)")


def run(options: dict[str, Any], stream: TextIO | None) -> Report:
    """Run it.

    Args:
        stream: where progress goes; None shows none.

    Raises:
        CommandError: an option makes no sense, or the caches cannot be moved to another server.
        ServerNotFound, ServerNotStarted: no server can be started.
        WorkerError: a process failed, or a path does not answer.
        redis.RedisError: a server could not be reached.
    """
    setup = Setup(
        paths=options["path"] or [health_path()],
        clients=options["clients"],
        interval=options["interval"],
        seconds=options["seconds"],
        threads=options["threads"],
        host=options["host"] or allowed_host(),
        cookie=options["cookie"],
        seed=options["seed"],
    )
    for path in setup.paths:
        if not path.startswith("/"):
            raise CommandError(f"--path must begin with a slash, as in a browser, not {path!r}.")
    check_movable(cache_settings())
    return Benchmark(setup, stream).run()


def health_path() -> str:
    """Return where health/ is.

    Raises:
        CommandError: it is nowhere.
    """
    try:
        return reverse("redis_optimizer:health")
    except NoReverseMatch as error:
        raise CommandError(
            "Which endpoint? Give --path, or include redis_optimizer.urls in ROOT_URLCONF."
        ) from error


def allowed_host() -> str:
    """Return a host that the site answers to."""
    hosts = [host for host in settings.ALLOWED_HOSTS if not host.startswith(("*", "."))]
    return hosts[0] if hosts else "localhost"


def check_movable(caches: Mapping[str, Any]) -> None:
    """See to it that one server can stand in for those of all caches.

    Raises:
        CommandError: it cannot.
    """
    for alias, given in caches.items():
        if "redis" in given.get("BACKEND", "") and not can_move(given):
            raise CommandError(
                f"CACHES[{alias!r}] cannot be moved to a server for the benchmark: its LOCATION "
                "is not one URL. Run it with settings that have a single server."
            )
