"""One tracked connection: what the server says on it, the same for RESP3 and RESP2."""

import contextlib
from collections import deque
from collections.abc import Iterator
from typing import Any, Final, NamedTuple, Self

from redis.connection import AbstractConnection, ConnectionPool
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoPermissionError, RedisError, ResponseError

from redis_optimizer.connections import channel_connection, master_address, newest_connection
from redis_optimizer.internals import interrupt, receive_pushes

__all__ = ["Event", "Invalidated", "Link", "Message", "Pong"]

_REPLACE: Final = """\
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2])
return 1"""

_CLUSTER_INFO: Final = "CLUSTER INFO"
_RESP2_CHANNEL: Final = b"__redis__:invalidate"


class Invalidated(NamedTuple):
    """These keys were written, or expired. None: any key may have been (FLUSHDB)."""

    keys: list[str] | None


class Message(NamedTuple):
    """Somebody published ``data`` on the control channel."""

    data: bytes


class Pong(NamedTuple):
    """The PING was answered: every invalidation sent before it has been seen."""

    said: str = ""
    """What a node of a cluster says of that."""


Event = Invalidated | Message | Pong


class Link:
    """A connection on which CLIENT TRACKING is on. Make one with :meth:`open`.

    One thread reads; any thread may call :meth:`interrupt`, and one at a time :meth:`ping`,
    :meth:`publish` and :meth:`add`.
    """

    def __init__(self, connection: AbstractConnection, pool: ConnectionPool, protocol: int) -> None:
        self._connection = connection
        self._pool = pool
        self._encoding = _encoding_of_keys(connection, pool)
        self.protocol = protocol
        self.received = 0
        """Messages that were read so far."""
        self._inbox: deque[list[Any]] = deque()
        # Commands that are answered by a number, which nobody waits for. Two counts, as one thread
        # sends and another reads.
        self._asked = 0
        self._answered = 0
        self._ping = "PING"
        if protocol == 3:
            receive_pushes(connection, self._inbox.append)

    @classmethod
    def open(cls, pool: ConnectionPool, *, name: str, timeout: float) -> Self:
        """Connect with RESP3, or RESP2 where the server (or a proxy) knows no HELLO.

        Args:
            pool: The pool that the data goes through.
            name: The client name.
            timeout: Seconds that a read or write may take.

        Raises:
            redis.exceptions.RedisError: when the server cannot be reached.
        """
        connection, protocol = newest_connection(pool, name=name, timeout=timeout)
        return cls(connection, pool, protocol)

    def track(self, prefixes: list[str], control: str) -> bool:
        """Ask to be told of every write under ``prefixes``, and listen to ``control``.

        Args:
            prefixes: None of them may begin with another one.
            control: Pub/Sub channel for messages between processes. A subscribed client also falls
                under the server's output buffer limit for Pub/Sub, so that a process that hangs is
                cut off instead of filling the server's memory.

        Returns:
            False when the user may not listen to ``control``; invalidations come all the same.

        Raises:
            redis.exceptions.ResponseError: when the server refuses.
        """
        arguments = [part for prefix in prefixes for part in ("PREFIX", prefix)]
        invalidations: tuple[str, ...] = ()
        if self.protocol == 3:
            self._request("CLIENT", "TRACKING", "ON", "BCAST", *arguments)
        else:
            own_id = self._request("CLIENT", "ID")
            self._request("CLIENT", "TRACKING", "ON", "REDIRECT", own_id, "BCAST", *arguments)
            invalidations = (_RESP2_CHANNEL.decode(),)
        try:
            self._subscribe(*invalidations, control)
        except NoPermissionError:  # refused as a whole
            if invalidations:
                self._subscribe(*invalidations)
            return False
        return True

    def join_cluster(self) -> str:
        """Let :meth:`ping` ask from now on what the node says of the cluster it belongs to.

        Returns:
            What it says now.

        Raises:
            redis.exceptions.ResponseError: when it is asked by RESP2, or refuses.
        """
        self._ping = _CLUSTER_INFO
        return _said(self._request(self._ping))

    def ping(self) -> None:
        """Send PING, or what takes its place; the answer comes from :meth:`poll`."""
        self._connection.send_command(self._ping, check_health=False)

    def publish(self, channel: str, data: bytes, timeout: float) -> None:
        """Publish a message, by one command; whether the server refuses it does not matter.

        Args:
            channel: Pub/Sub channel.
            data: The message.
            timeout: Seconds that sending it may take, where it needs a connection of its own.

        Raises:
            redis.exceptions.RedisError, OSError: when the connection is lost.
        """
        self._say(timeout, "PUBLISH", channel, data)

    def add(self, key: str, value: bytes, timeout: float) -> None:
        """Write a key that does not exist; whether the server refuses it does not matter.

        Args:
            key: The key.
            value: What it is to hold.
            timeout: As with :meth:`publish`.

        Raises:
            redis.exceptions.RedisError, OSError: when the connection is lost.
        """
        self._say(timeout, "SETNX", key, value)  # SET NX is not answered by a number

    def read(self, key: str, timeout: float) -> bytes | None:
        """Return what a key holds, before :meth:`poll` is called.

        Args:
            key: The key.
            timeout: Seconds that it may take, where it needs a connection of its own.

        Raises:
            redis.exceptions.RedisError, OSError: when the connection is lost, or the server
                refuses.
        """
        found = self._ask(timeout, "GET", key)
        return found if isinstance(found, bytes) else None

    def replace(self, key: str, before: bytes, value: bytes, timeout: float) -> bool:
        """Write a key unless somebody else has written it meanwhile.

        Args:
            key: The key.
            before: What :meth:`read` returned.
            value: What it is to hold.
            timeout: As with :meth:`read`.

        Returns:
            False when it holds something else.

        Raises:
            redis.exceptions.RedisError, OSError: as with :meth:`read`.
        """
        return bool(self._ask(timeout, "EVAL", _REPLACE, 1, key, before, value))

    def _ask(self, timeout: float, *command: str | bytes | int) -> Any:
        if self.protocol == 3:
            return self._request(*command)
        return self._ask_aside(timeout, *command)

    def _say(self, timeout: float, *command: str | bytes) -> None:
        if self.protocol == 3:
            self._asked += 1  # first: its answer may be read before this thread goes on
            self._connection.send_command(*command, check_health=False)
        else:
            with contextlib.suppress(RedisError, OSError):
                self._ask_aside(timeout, *command)

    def _ask_aside(self, timeout: float, *command: str | bytes | int) -> Any:
        """Send a command that a subscribed connection takes only since RESP3."""
        connection = channel_connection(self._pool, protocol=2, timeout=timeout)
        try:
            connection.send_command(*command)
            return connection.read_response()
        finally:
            connection.disconnect()

    def poll(self, timeout: float) -> Event | None:
        """Wait for the next event.

        Args:
            timeout: Seconds to wait.

        Returns:
            The event, or None when there was none, or none of interest.

        Raises:
            redis.exceptions.RedisError, OSError: when the connection is lost.
        """
        if not self._inbox and not self._receive(timeout):
            return None
        return self._understand(self._inbox.popleft()) if self._inbox else None

    def drain(self, most: int) -> Iterator[Event]:
        """Return what has arrived, in order, without waiting for more.

        Writes that were told of one after the other are one event, with each key once.

        Args:
            most: So many messages are read at most.

        Raises:
            redis.exceptions.RedisError, OSError: when the connection is lost.
        """
        keys: dict[str, None] = {}
        try:
            for _ in range(most):
                if not self._inbox and not self._receive(0):
                    break
                event = self._understand(self._inbox.popleft()) if self._inbox else None
                if isinstance(event, Invalidated) and event.keys is not None:
                    keys.update(dict.fromkeys(event.keys))
                elif event is not None:
                    if keys:
                        yield Invalidated(list(keys))
                        keys = {}
                    yield event
        except (RedisError, OSError):
            if keys:  # what came before the end counts
                yield Invalidated(list(keys))
            raise
        if keys:
            yield Invalidated(list(keys))

    def moved(self) -> bool:
        """Say whether Sentinel now names another master than the one connected to."""
        address = master_address(self._pool)
        connection: Any = self._connection
        return address is not None and address != (connection.host, connection.port)

    def interrupt(self) -> None:
        """Make :meth:`poll` fail at once in the thread that waits in it."""
        interrupt(self._connection)

    def close(self) -> None:
        """Close the connection."""
        self._connection.disconnect()

    def _request(self, *command: str | bytes | int) -> Any:
        self._connection.send_command(*command, check_health=False)
        return self._connection.read_response(disconnect_on_error=False)

    def _receive(self, timeout: float) -> bool:
        """Read the next message, and say whether there was one, if only of no interest."""
        if not self._connection.can_read(timeout):
            return False
        self.received += 1
        try:
            reply = self._read()
        except ResponseError:
            # Of a PING that is refused instead, nobody learns here: it stays unanswered.
            if self._answered == self._asked:
                raise
            self._answered += 1
            return True
        if isinstance(reply, int):
            self._answered += 1
        elif reply is not None:
            self._inbox.append(reply if isinstance(reply, list) else [reply])
        return True

    def _read(self) -> Any:
        if self.protocol == 3:
            return self._connection.read_response(push_request=True, disconnect_on_error=False)
        return self._connection.read_response(disconnect_on_error=False)

    def _subscribe(self, *channels: str) -> None:
        self._connection.send_command("SUBSCRIBE", *channels, check_health=False)
        waiting = len(channels)
        held: list[list[Any]] = []  # an invalidation may come first
        while waiting:
            reply = self._read()
            if isinstance(reply, list):
                self._inbox.append(reply)
            while self._inbox:
                message = self._inbox.popleft()
                if message[0] == b"subscribe":
                    waiting -= 1
                else:
                    held.append(message)
        self._inbox.extend(held)

    def _understand(self, message: list[Any]) -> Event | None:
        match message:
            case [b"invalidate", keys] | [b"message", b"__redis__:invalidate", keys]:
                return Invalidated(None if keys is None else [self._text(key) for key in keys])
            case [b"message", _, bytes(data)]:
                return Message(data)
            case [b"PONG"] | [b"pong", *_]:
                return Pong()
            case [bytes() | str() as said] if said[:8] in (b"cluster_", "cluster_"):
                return Pong(_said(said))
            case [b"tracking-redir-broken", *_]:
                raise RedisConnectionError("The server stopped sending invalidations.")
            case _:
                return None

    def _text(self, key: bytes) -> str:
        return key.decode(self._encoding, "surrogateescape")


def _encoding_of_keys(connection: AbstractConnection, pool: ConnectionPool) -> str:
    """Return by what keys are sent: UTF-8 wherever hiredis packs them, whatever the pool says."""
    witness = "\N{KEY}"  # which no other encoding has as these bytes
    try:
        packed = b"".join(connection.pack_command("GET", witness))
    except UnicodeEncodeError:
        packed = b""
    encoding: str = pool.get_encoder().encoding
    return "utf-8" if witness.encode() in packed else encoding


def _said(info: bytes | str) -> str:
    return info.decode() if isinstance(info, bytes) else info  # hiredis decodes it by itself
