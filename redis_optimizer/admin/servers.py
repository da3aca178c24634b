"""What the servers say of themselves: two commands each, over pooled connections."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from redis.connection import ConnectionPool
from redis.exceptions import RedisError, ResponseError
from redis.sentinel import SentinelConnectionPool

from redis_optimizer.health.checks.asking import ask
from redis_optimizer.stats.servers import all_pools

__all__ = ["TIMEOUT", "Command", "Server", "address", "ask_servers", "read_info"]

TIMEOUT: Final = 1.0
"""Seconds for which the answers of one server are awaited."""

_secretive: set[str] = set()
"""Servers that do not tell of their slow log: they are not asked again."""


@dataclass(frozen=True, slots=True)
class Command:
    """What a server did of one command since its figures were reset."""

    name: str
    calls: int
    microseconds: int


@dataclass(frozen=True, slots=True)
class Server:
    """What a server says of itself.

    Args:
        name: Where it is, without a password.
        info: What INFO tells, by name.
        commands: Those it was sent, the most frequent first.
        slow: Entries of its slow log; None where it does not tell.
        error: Why it says nothing.
        is_broker: It is Celery's alone: no cache is there.
        cost: Commands that it took to ask it.
    """

    name: str
    info: Mapping[str, str] = field(default_factory=dict)
    commands: tuple[Command, ...] = ()
    slow: int | None = None
    error: str = ""
    is_broker: bool = False
    cost: int = 0

    def number(self, name: str) -> int | None:
        """Return a number that INFO tells; None where it does not."""
        value = self.info.get(name, "")
        return int(value) if value.isdecimal() else None

    def clock(self) -> float | None:
        """Return what time it is there, in seconds since the epoch; None where it does not tell."""
        microseconds = self.number("server_time_usec")
        return None if microseconds is None else microseconds / 1_000_000


def ask_servers(*, are_heard: bool) -> list[Server]:
    """Ask each server of the site's caches.

    Args:
        are_heard: They have just answered something else: none of them hangs.
    """
    return [_ask_one(pool, are_heard) for pool in all_pools()]


def address(pool: ConnectionPool) -> str:
    """Return where the server behind a pool is, and which database, as it may be shown."""
    options = pool.connection_kwargs
    if isinstance(pool, SentinelConnectionPool):
        where = f"sentinel {pool.service_name}"
    elif "path" in options:
        where = str(options["path"])
    else:
        where = f"{options.get('host', 'localhost')}:{options.get('port', 6379)}"
    return f"{where}/{options.get('db') or 0}"


def _ask_one(pool: ConnectionPool, is_heard: bool) -> Server:
    name = address(pool)
    is_asked = name not in _secretive
    try:
        (info,) = ask(pool, ("INFO", "all"), timeout=TIMEOUT, greet=not is_heard)
        slow = _slow(pool, name) if is_asked else None
    except (RedisError, OSError) as error:
        return Server(name, error=f"{type(error).__name__}: {error}", cost=1)
    return read_info(name, info, slow=slow, cost=1 + is_asked)


def read_info(name: str, info: Any, **rest: Any) -> Server:
    """Return what a server says of itself.

    Args:
        name: Where it is.
        info: What it answered to INFO.
        rest: What else is known of it, see `Server`.
    """
    told = _read(info)
    return Server(name, told, _commands(told), **rest)


def _slow(pool: ConnectionPool, name: str) -> int | None:
    try:
        (slow,) = ask(pool, ("SLOWLOG", "LEN"), timeout=TIMEOUT, greet=False)
    except ResponseError:  # no right to, or a server without it; the connection was lost by it
        _secretive.add(name)
        return None
    return int(slow)


def _read(info: Any) -> dict[str, str]:
    text = info.decode(errors="replace") if isinstance(info, bytes) else str(info)
    pairs = (line.partition(":") for line in text.splitlines() if not line.startswith("#"))
    return {name: value for name, separator, value in pairs if separator}


def _commands(info: Mapping[str, str]) -> tuple[Command, ...]:
    found = []
    for name, value in info.items():
        if name.startswith("cmdstat_"):
            counts = dict(part.partition("=")[::2] for part in value.split(","))
            calls, spent = counts.get("calls", ""), counts.get("usec", "")
            if calls.isdecimal() and spent.isdecimal():
                command = name.removeprefix("cmdstat_").replace("|", " ")
                found.append(Command(command, int(calls), int(spent)))
    return tuple(sorted(found, key=lambda each: (-each.calls, each.name)))
