"""Command budgets: count what a block sends to the server of a cache."""

from __future__ import annotations

import functools
import inspect
import re
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, TypeVar, cast

# What redis-py sends to open a connection, and at no other time.
HANDSHAKE = frozenset(
    {
        *("HELLO", "AUTH", "SELECT", "READONLY"),
        *("CLIENT SETINFO", "CLIENT SETNAME", "CLIENT MAINT_NOTIFICATIONS"),
    }
)
# The caller of a command is the first frame outside these packages.
LIBRARIES = (
    *("redis", "django_redis", "redis_optimizer", "django.core.cache", "django.utils"),
    *("asgiref", "kombu", "celery", "contextlib", "functools", "threading", "concurrent.futures"),
)
PACKAGES = tuple(f"{library}." for library in LIBRARIES)
SHOWN = 40  # commands listed in a failure

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Command:
    """One command as it was sent.

    Attributes:
        name: in capitals; of CLIENT with its subcommand.
        argument: the first argument, as text; empty if there is none.
        where: "file:line" of the code that caused it.
    """

    name: str
    argument: str
    where: str

    def __str__(self) -> str:
        return f"{self.name} {self.argument}".ljust(50) + f"  {self.where}"


@dataclass
class SentCommands:
    """What a block sent to one server; its length is the number of commands.

    Attributes:
        commands: in the order of sending, without those that open a connection.
        handshake: those that opened connections.
    """

    commands: list[Command] = field(default_factory=list)
    handshake: list[Command] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.commands)


class assert_max_commands:  # noqa: N801 - read as a statement, like contextlib.suppress
    """Assert that a block sends at most `n` commands to the server of a cache.

    A context manager that yields `SentCommands`, and a decorator for functions and coroutines::

        with assert_max_commands(1) as sent:
            cache.get("a")
        assert [command.name for command in sent.commands] == ["GET"]

    Counted is what this process sends meanwhile, in any of its threads, by any client of redis-py
    (not of redis.asyncio): each command of a pipeline with its MULTI and EXEC, and a script once,
    whatever it calls. Commands that open a connection are shown but not held against `n`. What the
    coherence channel sends by itself is left out: it depends on time, not on the block.

    Args:
        n: the highest number of commands allowed.
        alias: of the cache whose server is watched; with Sentinel, all servers of its service.

    Raises:
        AssertionError: the block sent more; the message lists them.
        ValueError: the cache is not on Redis.
    """

    def __init__(self, n: int, alias: str = "default") -> None:
        self.n, self.alias = n, alias
        self._stack = ExitStack()

    def __enter__(self) -> SentCommands:
        self._sent = SentCommands()
        self._stack.enter_context(_recording(self._sent, _addresses(self.alias)))
        return self._sent

    def __exit__(self, exc_type: object, *exc_info: object) -> None:
        self._stack.close()
        if exc_type is None and len(self._sent) > self.n:
            raise AssertionError(self._explain())

    def __call__(self, function: F) -> F:
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def run_async(*args: Any, **kwargs: Any) -> Any:
                with type(self)(self.n, self.alias):
                    return await function(*args, **kwargs)

            return cast("F", run_async)

        @functools.wraps(function)
        def run(*args: Any, **kwargs: Any) -> Any:
            with type(self)(self.n, self.alias):
                return function(*args, **kwargs)

        return cast("F", run)

    def _explain(self) -> str:
        sent, opened = self._sent, Counter(command.name for command in self._sent.handshake)
        lines = [
            f"{len(sent)} commands were sent to the server of the cache {self.alias!r}, "
            f"at most {self.n} were allowed:"
        ]
        lines += [f"{n:4}. {command}" for n, command in enumerate(sent.commands[:SHOWN], start=1)]
        if len(sent) > SHOWN:
            lines.append(f"      and {len(sent) - SHOWN} more")
        if opened:
            names = ", ".join(f"{count} {name}" for name, count in opened.items())
            lines.append(f"Not counted, to open connections: {names}.")
        lines.append("Never counted: the coherence channel's own traffic.")
        return "\n".join(lines)


_recorders: list[tuple[SentCommands, frozenset[object]]] = []
_recorders_lock = threading.Lock()
_unpatch = ExitStack()


@contextmanager
def _recording(sent: SentCommands, addresses: frozenset[object]) -> Iterator[None]:
    recorder = (sent, addresses)
    with _recorders_lock:
        if not _recorders:
            _watch_connections()
        _recorders.append(recorder)
    try:
        yield
    finally:
        with _recorders_lock:
            # By identity: two blocks that sent the same are equal.
            _recorders[:] = [each for each in _recorders if each is not recorder]
            if not _recorders:
                _unpatch.close()


def _watch_connections() -> None:
    """Record at the two methods that every command passes: alone, or packed for a pipeline."""
    from redis.connection import AbstractConnection

    def record_sent(original: Callable[..., Any], connection: Any, *args: Any, **kw: Any) -> Any:
        result = original(connection, *args, **kw)
        _record(connection, [args])  # afterwards: a connection that opens first says HELLO
        return result

    def record_packed(
        original: Callable[..., Any], connection: Any, commands: Iterable[Any]
    ) -> Any:
        commands = list(commands)
        _record(connection, commands)
        return original(connection, commands)

    patch_method(_unpatch, AbstractConnection, "send_command", record_sent)
    patch_method(_unpatch, AbstractConnection, "pack_commands", record_packed)


def patch_method(undo: ExitStack, owner: type, name: str, around: Callable[..., Any]) -> None:
    """Call `around(original, self, ...)` for a method until `undo` is closed."""
    original = owner.__dict__[name]

    @functools.wraps(original)
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        return around(original, self, *args, **kwargs)

    setattr(owner, name, method)
    undo.callback(setattr, owner, name, original)


def _record(connection: Any, commands: list[Any]) -> None:
    if _is_channel(connection):
        return
    address, where = _address(connection), find_caller()
    for args in commands:
        words = [_text(word) for word in args[:3]]
        words[:1] = words[0].upper().split()  # redis-py writes "CLIENT LIST" as one word
        if words[0] == "CLIENT" and len(words) > 1:
            words[:2] = [f"CLIENT {words[1].upper()}"]
        command = Command(words[0], words[1] if len(words) > 1 else "", where)
        for sent, addresses in list(_recorders):
            if address in addresses:
                opening = command.name in HANDSHAKE
                (sent.handshake if opening else sent.commands).append(command)


def _text(word: object) -> str:
    text = word.decode(errors="backslashreplace") if isinstance(word, bytes) else str(word)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _is_channel(connection: Any) -> bool:
    """Tell the channel's own traffic, its connection's and its probes of the data pool, apart."""
    from redis_optimizer.channel import CLIENT_NAME

    client_name = _text(getattr(connection, "client_name", None) or "")
    return CLIENT_NAME in (client_name.rpartition(":")[0], threading.current_thread().name)


def find_caller() -> str:
    """Return "file:line" of the code that called a library, or the name of the thread."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        module = f"{frame.f_globals.get('__name__', '')}."
        if not module.startswith(PACKAGES):
            return f"{frame.f_code.co_filename}:{frame.f_lineno}"
        frame = frame.f_back
    return f"thread {threading.current_thread().name}"


def _address(connection: Any) -> object:
    """Return what tells the connection's server from others; with Sentinel, the service's name."""
    service = getattr(getattr(connection, "connection_pool", None), "service_name", None)
    if service is not None:
        return ("service", service)
    return _place(vars(connection))


def _place(parameters: dict[str, Any]) -> object:
    if path := parameters.get("path"):
        return ("socket", path)
    host = parameters.get("host", "localhost")
    loopback = host in ("localhost", "127.0.0.1", "::1")
    return ("localhost" if loopback else host, int(parameters.get("port", 6379)))


def _addresses(alias: str) -> frozenset[object]:
    from django.core.cache import caches
    from django_redis.cache import RedisCache
    from redis import connection

    from redis_optimizer.cache.cluster import ClusterClient

    parse_url: Callable[[str], dict[str, Any]] = connection.parse_url
    cache: Any = caches[alias]  # an alias that does not exist is Django's own error
    if isinstance(client := getattr(cache, "client", None), ClusterClient):
        return frozenset(_place(pool.connection_kwargs) for pool in client.cluster.pools())
    location = caches.settings[alias].get("LOCATION", "")
    # django-redis takes ";" for a part of the URL.
    between = "," if isinstance(cache, RedisCache) else "[;,]"
    urls = re.split(between, location) if isinstance(location, str) else location
    addresses: set[object] = set()
    for url in urls:
        try:
            parameters = parse_url(url)
        except ValueError as error:
            raise ValueError(f"The cache {alias!r} is not on Redis: {error}") from error
        addresses.update({_place(parameters), ("service", parameters.get("host"))})
    return frozenset(addresses)
