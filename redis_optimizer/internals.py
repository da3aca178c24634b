"""Every private name of redis-py and django-redis that the package leans on.

A contract test holds each of them.
"""

import contextlib
import socket
from collections.abc import Callable
from typing import Any

from django_redis.cache import RedisCache
from django_redis.client.default import DefaultClient
from redis.connection import AbstractConnection

__all__ = ["client_class", "client_options", "client_servers", "interrupt", "receive_pushes"]

Push = list[Any]


def receive_pushes(connection: AbstractConnection, receive: Callable[[Push], None]) -> None:
    """Hand every push message that ``connection`` reads to ``receive``.

    Without handlers redis-py drops invalidations silently. It also swallows what a handler raises,
    so ``receive`` should do no more than take the message.
    """
    parser: Any = connection._parser
    parser.set_invalidation_push_handler(receive)
    parser.set_pubsub_push_handler(receive)


def interrupt(connection: AbstractConnection) -> None:
    """End a read that another thread is waiting in."""
    sock: socket.socket | None = connection._sock
    if sock is not None:
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)


def client_class(backend: RedisCache[Any]) -> type[DefaultClient]:
    """Return the CLIENT_CLASS of a backend."""
    return backend._client_cls


def client_options(backend: RedisCache[Any]) -> dict[str, Any]:
    """Return the OPTIONS that a backend's client goes by."""
    options: dict[str, Any] = backend.client._options
    return options


def client_servers(backend: RedisCache[Any]) -> list[str]:
    """Return the URLs of a backend's servers, the primary first."""
    return list(backend.client._server)
