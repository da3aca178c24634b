"""The server of Celery's broker, where no cache of the site is on it."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final
from weakref import WeakKeyDictionary

from django.utils.translation import gettext as _
from redis.connection import ConnectionPool
from redis.exceptions import RedisError

from redis_optimizer.admin.pruning import uses_celery
from redis_optimizer.admin.servers import TIMEOUT, Server, address, read_info
from redis_optimizer.connections import channel_connection, handshake_of, logs_in

__all__ = ["ask_broker"]

_ways: Final[WeakKeyDictionary[Any, ConnectionPool]] = WeakKeyDictionary()
"""How to connect to the broker of each app: kombu tells that once it is connected."""


def ask_broker(others: Sequence[Server]) -> tuple[Server | None, int]:
    """Ask the server of the broker, unless it is among those that were asked.

    Args:
        others: Servers that were asked.

    Returns:
        What it says of itself, None where there is no other; and how many commands that took: at
        most two, and a few more at the first time.
    """
    if not uses_celery():
        return None, 0
    from celery.app import app_or_default
    from kombu.exceptions import OperationalError

    from redis_optimizer.tasks.asking import is_redis

    app = app_or_default()
    commands, name = 0, _("the broker")
    try:
        if not is_redis(app):
            return None, 0
        if app not in _ways:
            _ways[app], commands = _find(app)
        pool = _ways[app]
        name = address(pool)
        if _place(name) in {_place(server.name) for server in others}:
            return None, commands
        connection = channel_connection(pool, protocol=2, timeout=TIMEOUT, passing=True)
        try:
            connection.send_command("INFO", "all")
            info = connection.read_response()
        finally:
            connection.disconnect()
        commands += 1 + logs_in(pool)
    except (OperationalError, RedisError, OSError) as error:
        return Server(name, error=f"{type(error).__name__}: {error}", is_broker=True), commands
    server = read_info(name, info, is_broker=True)
    run = server.info.get("run_id")
    same = run is not None and any(run == other.info.get("run_id") for other in others)
    return (None if same else server), commands


def _find(app: Any) -> tuple[ConnectionPool, int]:
    from redis_optimizer.tasks.asking import asking

    with asking(app, TIMEOUT) as lists:
        pool: ConnectionPool = lists.client.connection_pool
    commands = 0
    with suppress(Exception):  # a class of connections that needs more than its arguments
        commands = handshake_of(pool) + 1  # kombu sends a PING
    return pool, commands


def _place(name: str) -> str:
    """Return the server of an address: the database does not matter."""
    return name.rpartition("/")[0]
