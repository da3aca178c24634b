"""What examinations go by: gathered once, or made by a test."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from textwrap import shorten
from typing import Any, Final, Literal

from redis_optimizer.doctor.celery.evidence import Broker, Kept
from redis_optimizer.stats.gathered import Gathered
from redis_optimizer.stats.metrics import number
from redis_optimizer.switches import State

__all__ = [
    "Alias",
    "Clients",
    "Evidence",
    "Server",
    "Unknown",
    "Use",
    "calls_of",
    "explain",
    "names_of",
]

_STAT: Final = "cmdstat_"

WORDS: Final = 300
"""Characters of an error that are shown."""

Clients = tuple[Mapping[str, str], ...]


class Unknown(Exception):
    """An examination could not look at something. Its message goes on: "could not look at ..."."""


def explain(error: Exception) -> str:
    """Return an error in a few words, as a reason in ``Evidence.unknown``.

    redis-py's of Sentinel names the whole client, whose options are nobody's concern.
    """
    return shorten(
        f"{type(error).__name__}: {str(error).partition('<redis.')[0].strip(' :')}", WORDS
    )


@dataclass(frozen=True, kw_only=True)
class Use:
    """Something of the site that is on a server.

    Args:
        kind: What it is.
        name: The setting that says so, as it would be typed.
        database: The number of the database.
        alias: Of a cache.
        timeout: Seconds that an answer is awaited; None: for ever.
    """

    kind: Literal["cache", "broker", "results"]
    name: str
    database: int = 0
    alias: str = ""
    timeout: float | None = None


@dataclass(frozen=True, kw_only=True)
class Server:
    """One Redis server, looked at twice.

    Args:
        address: Where it is; without user and password.
        uses: What of the site is on it.
        before: INFO, at first; all its fields by name.
        after: INFO, at the end.
        seconds: Between the two.
        own: Commands that the doctor sent in between, by name.
        clients: What CLIENT LIST said, a mapping for each; None where that could not be asked.
        tracking: Why it refuses CLIENT TRACKING; "" where it does not; None where nobody asked.
        is_local: The connection leaves the machine nowhere: loopback or a unix socket.
        is_encrypted: It is TLS.
        has_password: The site logs in.
    """

    address: str
    uses: tuple[Use, ...] = ()
    before: Mapping[str, str] = field(default_factory=dict, repr=False)
    after: Mapping[str, str] = field(default_factory=dict, repr=False)
    seconds: float = 0.0
    own: Mapping[str, int] = field(default_factory=dict, repr=False)
    clients: Clients | None = field(default=None, repr=False)
    tracking: str | None = None
    is_local: bool = True
    is_encrypted: bool = False
    has_password: bool = False

    def rate(self, *commands: str) -> float:
        """Return how often commands were called, per second, by all but the doctor.

        Args:
            commands: Their names in lower case, subcommands as in "client|list"; all where none is
                named.
        """
        if self.seconds <= 0:
            return 0.0
        names = commands or self._commands()
        return sum(self._calls(name) for name in names) / self.seconds

    def calls(self, *commands: str) -> int:
        """Return how often commands were called since the server began."""
        return sum(calls_of(self.after, name) for name in commands)

    def number(self, name: str) -> int | None:
        """Return a whole number that INFO tells; None where it does not."""
        value = self.after.get(name, "")
        return int(value) if value.removeprefix("-").isdecimal() else None

    def growth(self, name: str) -> float:
        """Return by how much a number that INFO tells grew, per second."""
        before, after = self.before.get(name, ""), self.after.get(name, "")
        if self.seconds <= 0 or not (before.isdecimal() and after.isdecimal()):
            return 0.0
        return max(int(after) - int(before), 0) / self.seconds

    @property
    def evicts(self) -> bool:
        """True where keys make room for others when the memory is full."""
        return bool(self.number("maxmemory")) and self.policy not in ("", "noeviction")

    @property
    def policy(self) -> str:
        """What happens when the memory is full: its maxmemory-policy."""
        return self.after.get("maxmemory_policy", "")

    def used_for(self, *kinds: str) -> list[Use]:
        """Return what of the site is on it that is one of these: "cache", "broker", "results"."""
        return [use for use in self.uses if use.kind in kinds]

    def _commands(self) -> list[str]:
        return [name.removeprefix(_STAT) for name in self.after if name.startswith(_STAT)]

    def _calls(self, name: str) -> int:
        called = calls_of(self.after, name) - calls_of(self.before, name) - self.own.get(name, 0)
        return max(called, 0)  # somebody may have reset the statistics


def calls_of(info: Mapping[str, str], command: str) -> int:
    """Return how often a command was called since the server began."""
    for part in info.get(f"{_STAT}{command}", "").split(","):
        name, _, value = part.partition("=")
        if name == "calls" and value.isdecimal():
            return int(value)
    return 0


@dataclass(frozen=True, kw_only=True)
class Alias:
    """A cache of the site.

    Args:
        name: Its alias.
        settings: What ``CACHES`` says of it.
        backend: What that names; None where it cannot be imported.
        server: Where it is; None where that is unknown, or no Redis server.
    """

    name: str
    settings: Mapping[str, Any] = field(repr=False)
    backend: type | None = None
    server: Server | None = None

    @property
    def setting(self) -> str:
        """How its settings are named."""
        return f'CACHES["{self.name}"]'

    @property
    def options(self) -> Mapping[str, Any]:
        """Its OPTIONS."""
        options = self.settings.get("OPTIONS") or {}
        return options if isinstance(options, Mapping) else {}


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What is known of a site.

    Args:
        aliases: Its caches.
        servers: Its Redis servers, as far as they answered: each once, whatever its names.
        stats: What all processes counted by the end; None where nobody could be asked.
        stats_before: The same, at first.
        seconds: For which was looked: between the two.
        app: The Celery app; None where the site has not loaded Celery.
        broker: What the broker shows of workers and jobs; None: nobody could look, or not Redis.
        kept: What can be seen of the results in Redis; None likewise.
        memory: Bytes that the processes of this machine, or container, may use; None: unknown.
        states: Of the parts that can be switched at run time, as Redis keeps them.
        unknown: What could not be looked at, and why: it goes on "could not look at ...".
        looked_at: What was looked at, in words.
        commands: What the look cost, on all servers together.
    """

    aliases: tuple[Alias, ...] = ()
    servers: tuple[Server, ...] = ()
    stats: Gathered | None = None
    stats_before: Gathered | None = None
    seconds: float = 0.0
    app: Any = field(default=None, repr=False)
    broker: Broker | None = None
    kept: Kept | None = None
    memory: int | None = None
    states: Mapping[str, State] = field(default_factory=dict)
    unknown: tuple[str, ...] = ()
    looked_at: tuple[str, ...] = ()
    commands: int = 0

    def caches(self, *backends: type) -> Iterator[Alias]:
        """Yield the caches whose backend is one of these classes, or a subclass."""
        for alias in self.aliases:
            if alias.backend is not None and issubclass(alias.backend, backends):
                yield alias

    def growth(self, *path: str) -> list[float]:
        """Return by how much a number grew in each process that answered twice, per second.

        Args:
            path: Where it is in what the process counted.
        """
        if self.seconds <= 0 or self.stats is None or self.stats_before is None:
            return []
        before = {each.facts["id"]: each.totals for each in self.stats_before.processes}
        return [
            (number(each.totals, *path) - number(before[each.facts["id"]], *path)) / self.seconds
            for each in self.stats.processes
            if each.facts["id"] in before
        ]

    def server_of(self, kind: str) -> Server | None:
        """Return the server of the broker ("broker") or of the results ("results")."""
        return next((each for each in self.servers if each.used_for(kind)), None)


def names_of(uses: Iterable[Use]) -> str:
    """Return the settings that say what is on a server, as words."""
    names = list(dict.fromkeys(use.name for use in uses))
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
