"""What costs or endangers something about connections."""

from collections.abc import Iterator
from typing import Final

from django.conf import settings
from django_redis.cache import RedisCache

from redis_optimizer.doctor.evidence import Evidence, Server
from redis_optimizer.doctor.findings import (
    DAY,
    Examination,
    Found,
    Severity,
    examination,
    per_day,
)

__all__ = ["EXAMINATIONS"]

MANY_CONNECTS: Final = 1.0
"""Connections a second. A deploy, or a health check that opens its own, makes fewer."""

NEARLY_ALL: Final = 0.8
"""Of maxclients."""

IDLE: Final = 300  # seconds

HANDSHAKE: Final = ("hello", "auth", "select", "client|setinfo", "client|setname")


@examination(
    "reconnecting",
    Severity.WARNING,
    "Each connection begins with up to five commands (HELLO, AUTH, SELECT, two CLIENT SETINFO) and "
    "as many round trips before the first one that is of use.",
)
def reconnecting(evidence: Evidence) -> Iterator[Found]:
    closing = [
        alias
        for alias in evidence.caches(RedisCache)
        if alias.options.get("CLOSE_CONNECTION", getattr(settings, _CLOSE, False))
    ]
    for server in evidence.servers:
        names = {use.alias for use in server.used_for("cache")}
        ours = [alias for alias in closing if alias.name in names]
        connects = server.growth("total_connections_received")
        if not ours and connects < MANY_CONNECTS:
            continue
        rate = server.rate(*HANDSHAKE)
        if ours:
            where = [
                f'{alias.setting}["OPTIONS"]["CLOSE_CONNECTION"]'
                if "CLOSE_CONNECTION" in alias.options
                else _CLOSE
                for alias in ours
            ]
            what = f"{where[0]} is True: connections to {server.address} are closed after each "
            what += "request."
            change = f"{where[0]} = False"
        else:
            what = f"Clients connect to {server.address} {connects:,.1f} times a second."
            change = (
                "Keep connections: no client that is made for each call, broker_pool_limit above "
                "0, server processes that serve more than a few requests. CLIENT LIST tells who "
                "they are."
            )
        yield Found(
            what=what,
            change=change,
            saves=per_day(rate) or None,
            at_most=True,
            arithmetic=f"{rate:,.1f} commands/s that open connections x {DAY:,} s = "
            f"{per_day(rate):,.0f} at most"
            if rate
            else f"Unknown: nobody connected in {evidence.seconds:.0f} s.",
        )


@examination(
    "no-timeout",
    Severity.WARNING,
    "When the server hangs, or the network drops packets, every request that reads the cache waits "
    "for ever, and soon no thread of the site is left.",
)
def no_timeout(evidence: Evidence) -> Iterator[Found]:
    for server in evidence.servers:
        for use in server.used_for("cache"):
            if use.timeout is None:
                yield Found(
                    what=f"{use.name} waits for an answer of {server.address} without a timeout.",
                    change=f'{use.name}["OPTIONS"] = cache_options(url), or '
                    f'["OPTIONS"]["SOCKET_TIMEOUT"] = 5',
                )


@examination(
    "clients-full",
    Severity.WARNING,
    "At maxclients the server refuses every new connection: of web processes, workers and "
    "operators.",
)
def clients_full(evidence: Evidence) -> Iterator[Found]:
    for server in evidence.servers:
        clients, limit = server.number("connected_clients"), server.number("maxclients")
        refused = server.growth("rejected_connections")
        if not refused and (clients is None or not limit or clients < NEARLY_ALL * limit):
            continue
        seen = f"{clients:,} of {limit:,} clients" if clients and limit else "all its clients"
        told = f"; it refused {refused:,.1f} a second" if refused else ""
        yield Found(
            what=f"{server.address} has {seen}{told}{_idle(server)}.",
            change=f"CONFIG SET maxclients {2 * (limit or 10_000)}; and fewer connections of each "
            "process: cache_options() and celery_settings()",
            severity=Severity.ERROR if refused else None,
        )


_CLOSE: Final = "DJANGO_REDIS_CLOSE_CONNECTION"


def _idle(server: Server) -> str:
    ages = [int(each.get("idle") or 0) for each in server.clients or ()]
    idle = sum(age > IDLE for age in ages)
    return f"; {idle:,} of them said nothing for {IDLE // 60} minutes" if idle else ""


EXAMINATIONS: Final[tuple[Examination, ...]] = (
    reconnecting,
    no_timeout,
    clients_full,
)
