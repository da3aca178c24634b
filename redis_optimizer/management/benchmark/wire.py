"""What clients sent to a server, and not what its scripts did."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import redis

from redis_optimizer.management.benchmark.monitor import Client, Monitor

__all__ = ["CONNECTING", "Client", "Counts", "Wire"]

# What is sent to open a connection, and at no other time.
CONNECTING = frozenset(
    {
        *("HELLO", "AUTH", "SELECT", "READONLY"),
        *("CLIENT SETINFO", "CLIENT SETNAME", "CLIENT MAINT_NOTIFICATIONS"),
    }
)
# MONITOR shows no administrative commands: of these, what it did not show was sent all the same.
HIDDEN = ("ACL ", "CLIENT ", "CONFIG ", "LATENCY ", "SLOWLOG ")


@dataclass(frozen=True)
class Counts:
    """What was sent between two moments. Commands are counted by name, in capitals.

    Args:
        commands: all but those that opened connections.
        connecting: those that did.
        clients: both, by connection. Administrative commands, such as CLIENT UNBLOCK, are among
            `commands` by the server's count, but MONITOR does not show who sent them.
        reads: how often the server read from a connection. These are the round trips, and some
            more where what is sent is larger than the server's buffer of 16 KiB.
    """

    commands: Counter[str] = field(default_factory=Counter)
    connecting: Counter[str] = field(default_factory=Counter)
    clients: Mapping[Client, Counter[str]] = field(default_factory=dict)
    reads: int = 0

    def by_process(self) -> dict[int | None, Counter[str]]:
        """Return the commands of each process, without those that opened connections."""
        return self._gather("process")

    def by_user(self) -> dict[str, Counter[str]]:
        """Return the commands of each user, without those that opened connections."""
        return self._gather("user")

    def _gather(self, attribute: str) -> dict[Any, Counter[str]]:
        found: dict[Any, Counter[str]] = {}
        for client, sent in self.clients.items():
            commands = found.setdefault(getattr(client, attribute), Counter())
            commands.update({name: n for name, n in sent.items() if name not in CONNECTING})
        return found


class Wire:
    """Count what clients send to a server, from the beginning of the block on.

    A context manager. What the counter sends itself is left out. It reads MONITOR, which slows the
    server down: not for production.

    Args:
        url: of the server.

    Raises:
        redis.RedisError: the server does not answer.
    """

    def __init__(self, url: str) -> None:
        self._url = url

    def __enter__(self) -> Self:
        self._client = redis.Redis.from_url(
            self._url, single_connection_client=True, decode_responses=True
        )
        self._monitor = Monitor(self._url)
        self._asked = 0
        self.restart()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._monitor.close()
        self._client.close()

    def restart(self) -> None:
        """Count from here."""
        self._monitor.take(self._client, restart=True)
        self._calls, self._reads = self._ask()

    def counts(self) -> Counts:
        """Return what was sent up to now.

        Raises:
            redis.RedisError: the server does not answer, or was away meanwhile.
        """
        seen = self._monitor.take(self._client)
        calls, reads = self._ask()
        sent: Counter[str] = Counter()
        for commands in seen.sent.values():
            sent.update(commands)
        for name, count in (calls - self._calls).items():
            if name.startswith(HIDDEN) and name not in sent:
                sent[name] = count
        return Counts(
            commands=Counter({name: n for name, n in sent.items() if name not in CONNECTING}),
            connecting=Counter({name: n for name, n in sent.items() if name in CONNECTING}),
            clients=seen.sent,
            reads=reads - self._reads,
        )

    def _ask(self) -> tuple[Counter[str], int]:
        """Return what the server counted of others: calls by command, and reads."""
        info = self._client.info("everything")
        self._asked += 2  # with the ECHO before it
        calls = Counter(
            {
                name.removeprefix("cmdstat_").replace("|", " ").upper(): stats["calls"]
                for name, stats in info.items()
                if name.startswith("cmdstat_")
            }
        )
        calls["CLIENT LIST"] -= self._monitor.asked
        for name in ("ECHO", "INFO", "MONITOR"):
            del calls[name]
        return calls, info["total_reads_processed"] - self._asked - self._monitor.asked
