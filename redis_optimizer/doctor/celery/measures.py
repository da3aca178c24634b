"""What examinations of Celery measure by: rates of the broker's server, and what they are made of.

The figures were counted on the server with Celery 5.6 and 5.7, kombu 5.7. Imports no Celery.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from redis_optimizer.doctor.celery.evidence import Broker
from redis_optimizer.doctor.evidence import Evidence, Server, Unknown
from redis_optimizer.doctor.findings import DAY, per_day

__all__ = [
    "BATCHED",
    "METERED_WAIT",
    "PLAIN",
    "POLLING",
    "QUICK",
    "SINGLE",
    "Jobs",
    "advise",
    "count_workers",
    "gain",
    "is_on_redis",
    "jobs_of",
    "join_names",
    "option",
    "own_tasks",
    "polls",
    "redis_backend",
    "taken",
    "waiting",
    "with_profile",
]

POLLING: Final = 1.0
"""Seconds that kombu's Redis transport waits for a job at a time, unless it is told otherwise."""

METERED_WAIT: Final = 60.0
"""The same with ``celery_settings(profile="metered")``."""

PLAIN: Final = 10.0
"""Commands of a job without a result: LPUSH, BRPOP, and two transactions of four."""

SINGLE: Final = 4.0
"""The same where a worker with redis_optimizer takes it: two scripts instead."""

BATCHED: Final = 0.04
"""Commands of a job in an envelope of a hundred."""

QUICK: Final = 2
"""Seconds since it asked: a connection that waits for longer is not of a worker that polls."""


@dataclass(frozen=True)
class Jobs:
    """A site whose broker is a Redis server that could be looked at."""

    app: Any
    server: Server
    broker: Broker


def jobs_of(evidence: Evidence) -> Jobs | None:
    """Return where the site's jobs are; None where it has none, or nobody could look."""
    server = evidence.server_of("broker")
    if evidence.app is None or server is None or evidence.broker is None:
        return None
    return Jobs(evidence.app, server, evidence.broker)


def waiting(jobs: Jobs, *, within: int | None = None) -> int:
    """Return how many connections wait for jobs in the broker's database: one for each worker.

    A worker that has as many jobs as it may take does not wait.

    Args:
        jobs: Of the site.
        within: Only those that asked less than so many seconds ago.

    Raises:
        Unknown: the server does not list its clients.
    """
    return _waiting(jobs, within)[0]


def _waiting(jobs: Jobs, within: int | None) -> tuple[int, int]:
    """Return how many wait in the broker's database, and in all others."""
    if jobs.server.clients is None:
        raise Unknown(f"the workers that wait at {jobs.server.address}: CLIENT LIST is refused")
    databases = [
        client.get("db")
        for client in jobs.server.clients
        if client.get("cmd") == "brpop"
        and (within is None or int(client.get("idle") or 0) < within)
    ]
    ours = databases.count(str(jobs.broker.database))
    return ours, len(databases) - ours


def taken(server: Server) -> float:
    """Return how many messages a second workers took and acknowledged.

    For each there are a ZADD, an HSET, a ZREM and an HDEL; other things send some of these.
    """
    return min(server.rate(command) for command in ("zadd", "hset", "zrem", "hdel"))


def polls(jobs: Jobs) -> float:
    """Return how often a second the site's workers asked for a job and got none.

    Raises:
        Unknown: the server does not list its clients.
    """
    ours, others = _waiting(jobs, QUICK)
    empty = jobs.server.rate("brpop") - taken(jobs.server) - others / POLLING
    return min(max(empty, 0.0), ours / POLLING)


def is_on_redis(app: Any) -> bool:
    """Tell whether there is an app whose broker is Redis, by its settings alone."""
    if app is None:
        return False
    from redis_optimizer.tasks.asking import is_redis

    return is_redis(app)


def redis_backend(app: Any) -> Any:
    """Return the backend that keeps an app's results in Redis; None where they are elsewhere."""
    # Others are not made: that of a database needs its model.
    if app is None or "://" not in str(app.conf.result_backend or ""):
        return None
    from celery.backends.redis import RedisBackend

    return app.backend if isinstance(app.backend, RedisBackend) else None


def option(app: Any, name: str) -> Any:
    """Return one of ``broker_transport_options``; None where it is not there."""
    return (app.conf.broker_transport_options or {}).get(name)


def own_tasks(app: Any) -> Iterator[Any]:
    """Yield an app's tasks without those that Celery and we have brought."""
    ours = ("celery.", "redis_optimizer.")
    return (task for name, task in app.tasks.items() if not name.startswith(ours))


def with_profile(app: Any) -> bool:
    """Tell whether the settings are those of `celery_settings`, with a profile that says less."""
    from redis_optimizer.connections import PROFILES

    quiet = {profile.consumer for name, profile in PROFILES.items() if name != "default"}
    return str(app.conf.worker_consumer) in quiet


def advise(app: Any, otherwise: str) -> str:
    """Return what to change so that a worker says less.

    Args:
        app: Whose workers.
        otherwise: What does it without `celery_settings`.
    """
    if with_profile(app):
        return (
            "Restart the workers: these settings have a profile of celery_settings() already, "
            "but the workers run without it."
        )
    return f'globals().update(celery_settings(BROKER_URL, profile="metered")); or {otherwise}'


def gain(
    evidence: Evidence, rate: float | None, what: str, commands: float
) -> tuple[float | None, str]:
    """Return what is saved a day, and how that comes about.

    Args:
        evidence: For how long was looked.
        rate: How many there were a second; None where nobody could look.
        what: What they are.
        commands: That each costs more than it need, as counted of one.
    """
    if rate is None:
        return None, "Unknown: the server could not be looked at."
    if not rate:
        return None, f"Unknown: there were no {what} in {evidence.seconds:.0f} s."
    saves = per_day(rate * commands)
    return saves, f"{rate:,.2f} {what}/s x {commands:g} commands x {DAY:,} s = {saves:,.0f}"


def count_workers(number: int) -> str:
    """Return a number of workers in words."""
    return f"{number} worker" if number == 1 else f"{number} workers"


def join_names(names: list[str], most: int = 3) -> str:
    """Return the first of some names, and how many there are besides."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
