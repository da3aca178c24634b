"""Look at one server: at the beginning and at the end of a time."""

import ipaddress
from collections.abc import Callable
from typing import Any, Final

from redis.connection import AbstractConnection, SSLConnection
from redis.exceptions import RedisError, ResponseError

from redis_optimizer.connections import logs_in, newest_connection
from redis_optimizer.doctor.evidence import Clients, Server, Use
from redis_optimizer.doctor.places import TIMEOUT, Place

__all__ = ["Visit", "address_of", "parse_clients", "parse_info"]

PREFIX: Final = "redis_optimizer:doctor:"
"""Of no key that there is: what is tracked is of no interest, only whether it may be."""


class Visit:
    """A connection to a server, on which it is looked at twice.

    It sends commands that only read. A connection that tracks writes is closed at the end, and
    with it the tracking.

    Args:
        place: What is looked at.
        now: Clock in seconds; must be monotonic.

    Raises:
        redis.exceptions.RedisError, OSError: when the server cannot be asked.
    """

    def __init__(self, place: Place, now: Callable[[], float]) -> None:
        self.unknown: list[str] = []
        """What could not be looked at."""
        self.commands = place.commands
        """What the visit cost so far."""
        self._now = now
        self.error: Exception | None = None
        """Why it could not be looked at the first time."""
        self._uses: list[Use] = [place.use]
        self._pool = place.pool
        self._connect()
        self.address = address_of(self._connection)
        try:
            # Two names may lead to one server; where it does not say who it is, the name must do.
            self.identity = parse_info(self._ask("INFO", "SERVER")).get("run_id") or self.address
        except BaseException:
            self._connection.disconnect()
            raise

    def join(self, other: "Visit") -> None:
        """Add what another visit to the same server was for, and end that one."""
        self._uses += other._uses
        self.commands += other.commands
        other._connection.disconnect()

    def begin(self) -> None:
        """Look for the first time; an error is that of `end`."""
        try:
            self._clients = self._list_clients()
            self._tracking = self._try_tracking()
            self._first = parse_info(self._ask("INFO", "ALL"))
        except (RedisError, OSError) as error:
            self.error = error
        self._began = self._now()

    def end(self) -> Server:
        """Look for the second time, and close the connection.

        Raises:
            redis.exceptions.RedisError, OSError: when the server cannot be asked any more.
        """
        try:
            if self.error is not None:
                raise self.error
            last = parse_info(self._ask("INFO", "ALL"))
            seconds = self._now() - self._began
        finally:
            self._connection.disconnect()
        return Server(
            address=self.address,
            uses=tuple(self._uses),
            before=self._first,
            after=last,
            seconds=seconds,
            own={"info": 1},  # the first one: a command is counted when it has been answered
            clients=self._clients,
            tracking=self._tracking,
            is_local=_is_local(self._connection),
            is_encrypted=issubclass(self._pool.connection_class, SSLConnection),
            has_password=logs_in(self._pool),
        )

    def _connect(self) -> None:
        # As a channel does, so that whether the server tracks is asked in the same way.
        self._connection, self._protocol = newest_connection(self._pool, timeout=TIMEOUT)
        self.commands += 1 + (logs_in(self._pool) if self._protocol == 2 else 0)

    def _list_clients(self) -> Clients | None:
        try:
            return parse_clients(self._ask("CLIENT", "LIST"))
        except ResponseError as error:
            self.unknown.append(f"the clients of {self.address}: {error}")
            return None

    def _try_tracking(self) -> str | None:
        try:
            to = ["REDIRECT", self._ask("CLIENT", "ID")] if self._protocol == 2 else []
            self._ask("CLIENT", "TRACKING", "ON", *to, "BCAST", "PREFIX", PREFIX)
            self._ask("CLIENT", "TRACKING", "OFF")
        except ResponseError as error:
            return str(error)
        return ""

    def _ask(self, *command: Any) -> Any:
        self.commands += 1
        self._connection.send_command(*command, check_health=False)
        return self._connection.read_response(disconnect_on_error=False)


def parse_info(reply: Any) -> dict[str, str]:
    """Return the fields of an answer to INFO, whatever their section."""
    lines = _text(reply).splitlines()
    pairs = (line.partition(":") for line in lines if not line.startswith("#"))
    return {name: value for name, colon, value in pairs if colon}


def parse_clients(reply: Any) -> Clients:
    """Return the fields of each client in an answer to CLIENT LIST."""
    return tuple(
        dict(part.partition("=")[::2] for part in line.split(" "))
        for line in _text(reply).splitlines()
        if line
    )


def address_of(connection: AbstractConnection) -> str:
    """Return where a connection leads to, without user and password."""
    there: Any = connection
    path = getattr(there, "path", None)
    return str(path) if path else f"{there.host}:{there.port}"


def _is_local(connection: AbstractConnection) -> bool:
    there: Any = connection
    if getattr(there, "path", None):
        return True
    try:
        return ipaddress.ip_address(there.host).is_loopback
    except ValueError:
        return bool(there.host == "localhost")


def _text(reply: Any) -> str:
    return reply.decode(errors="replace") if isinstance(reply, bytes) else str(reply)
