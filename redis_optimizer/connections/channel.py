"""Connections beside a pool: of the channel, and of what must not wait for the pool.

They are made from the pool that django-redis or kombu built, so that TLS, unix sockets, Sentinel,
user and password come along. They are not the pool's: those it would keep.
"""

import inspect
from collections.abc import Callable
from typing import Any, Final

from redis.backoff import NoBackoff
from redis.connection import AbstractConnection, ConnectionPool
from redis.exceptions import AuthenticationError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.retry import Retry
from redis.sentinel import SentinelConnectionPool

from redis_optimizer.conf import get_settings
from redis_optimizer.connections.counting import counting, disregard, uncounted

__all__ = [
    "channel_connection",
    "database_of",
    "handshake_of",
    "logs_in",
    "master_address",
    "newest_connection",
    "server_of",
    "timeout_of",
]

CONNECT_TIMEOUT: Final = 2.0
"""Seconds a channel waits for the server to accept it; it tries again for as long as it lives."""

# Not for a connection that is not the pool's own: redis-py 8 would rewrite its timeouts.
_POOL_ONLY: Final = (
    "maint_notifications_config",
    "maint_notifications_pool_handler",
    "oss_cluster_maint_notifications_handler",
)


def server_of(pool: ConnectionPool) -> tuple[object, ...]:
    """Return what identifies the server and user behind ``pool``, whatever the database.

    Two pools with equal identities can share one channel: CLIENT TRACKING knows no databases.
    """
    username = pool.connection_kwargs.get("username")
    return (uncounted(pool.connection_class), *_where(pool), username)


def database_of(pool: ConnectionPool) -> tuple[object, ...]:
    """Return what identifies the database behind ``pool``, whoever logs in: FLUSHDB empties it."""
    return (*_where(pool), int(pool.connection_kwargs.get("db") or 0))


def _where(pool: ConnectionPool) -> tuple[object, ...]:
    options = pool.connection_kwargs
    if isinstance(pool, SentinelConnectionPool):
        sentinels = tuple(
            (
                s.connection_pool.connection_kwargs["host"],
                s.connection_pool.connection_kwargs["port"],
            )
            for s in pool.sentinel_manager.sentinels
        )
        return ("sentinel", pool.service_name, sentinels)
    if "path" in options:
        return ("unix", options["path"])
    return ("tcp", options.get("host", "localhost"), options.get("port", 6379))


def master_address(pool: ConnectionPool) -> tuple[str, int] | None:
    """Ask Sentinel where the master is now.

    Returns:
        Its host and port, or None when ``pool`` is not under Sentinel.

    Raises:
        redis.exceptions.ConnectionError: when no Sentinel knows.
    """
    if not isinstance(pool, SentinelConnectionPool):
        return None
    host, port = pool.sentinel_manager.discover_master(pool.service_name)
    return host, port


def timeout_of(pool: ConnectionPool) -> float | None:
    """Return the seconds that a connection of ``pool`` waits for an answer; None: for ever.

    What the pool is not told is redis-py's to say, and differs between its versions.
    """
    seconds: float | None = _unconnected(pool).socket_timeout
    return seconds


def logs_in(pool: ConnectionPool) -> bool:
    """Tell whether a connection to the server of ``pool`` begins with a command to log in."""
    options = pool.connection_kwargs
    return bool(options.get("password") or options.get("credential_provider"))


def handshake_of(pool: ConnectionPool) -> int:
    """Return how many commands a connection of ``pool`` begins with."""
    options = pool.connection_kwargs
    says_hello = int(_unconnected(pool).get_protocol()) == 3  # which logs in as well
    tells_library = {*_no_library_info(pool.connection_class)} - {
        name for name, value in options.items() if value is None
    }
    return (
        bool(logs_in(pool) or says_hello)
        + bool(options.get("db"))
        + bool(options.get("client_name"))
        + 2 * bool(tells_library)
    )


def _unconnected(pool: ConnectionPool) -> Any:
    options = {k: v for k, v in pool.connection_kwargs.items() if k not in _POOL_ONLY}
    return pool.connection_class(**options)


def channel_connection(
    pool: ConnectionPool,
    *,
    timeout: float,
    name: str | None = None,
    protocol: int | None = None,
    passing: bool = False,
) -> AbstractConnection:
    """Connect to the server of ``pool``, once: the connection never reconnects by itself.

    Args:
        pool: The pool that the data goes through.
        timeout: Seconds that a read or write may take.
        name: The client name that CLIENT LIST shows; None sends none, which saves a command.
        protocol: RESP version, 2 or 3; None is the pool's.
        passing: It is closed in a moment: it is not told of among those that are open.

    Returns:
        A connected connection.

    Raises:
        redis.exceptions.RedisError: when the server cannot be reached or refuses.
    """
    options: dict[str, Any] = {
        key: value for key, value in pool.connection_kwargs.items() if key not in _POOL_ONLY
    }
    options |= {
        "db": 0,  # tracking covers every database: a SELECT less
        "client_name": name,
        "decode_responses": False,
        "socket_timeout": timeout,
        "socket_connect_timeout": min(timeout, CONNECT_TIMEOUT),
        # A retry inside redis-py would hide the loss, and with it lost invalidations.
        "retry": Retry(NoBackoff(), 0),
        "retry_on_timeout": False,
        "retry_on_error": [],
        "health_check_interval": 0,
        "redis_connect_func": _connect_once(pool.connection_kwargs.get("redis_connect_func")),
        **_no_library_info(pool.connection_class),
    }
    if protocol is not None:
        options["protocol"] = protocol
    connection_class = uncounted(pool.connection_class)
    if get_settings().ENABLED:
        connection_class = counting(connection_class, "channel")
    connection: AbstractConnection = connection_class(**options)
    if passing:
        disregard(connection)
    connection.connect()
    return connection


def newest_connection(
    pool: ConnectionPool, *, timeout: float, name: str | None = None
) -> tuple[AbstractConnection, int]:
    """Connect with RESP3, or RESP2 where the server (or a proxy) knows no HELLO.

    Args:
        pool: As with `channel_connection`.
        timeout: As there.
        name: As there.

    Returns:
        A connected connection, and its RESP version.

    Raises:
        redis.exceptions.RedisError: when the server cannot be reached or refuses.
    """
    try:
        return channel_connection(pool, timeout=timeout, name=name, protocol=3), 3
    # With a password it is HELLO that logs in: a server that does not know it says "log in first",
    # which is no other error than that of a wrong password.
    except (AuthenticationError, ResponseError):
        return channel_connection(pool, timeout=timeout, name=name, protocol=2), 2


def _connect_once(
    handshake: Callable[[AbstractConnection], None] | None,
) -> Callable[[AbstractConnection], None]:
    """Let the handshake happen once: a connection remade behind our back is not tracked."""
    connected = False

    def connect(connection: AbstractConnection) -> None:
        nonlocal connected
        if connected:
            raise RedisConnectionError("The channel's connection was lost.")
        connected = True
        if handshake is None:
            connection.on_connect()
        else:
            handshake(connection)

    return connect


def _no_library_info(connection_class: type[AbstractConnection]) -> dict[str, None]:
    # Two CLIENT SETINFO saved. redis-py 8 renamed the argument; subclasses take it by **kwargs.
    parameters = inspect.signature(AbstractConnection.__init__).parameters
    names = ("driver_info",) if "driver_info" in parameters else ("lib_name", "lib_version")
    return dict.fromkeys(names)
