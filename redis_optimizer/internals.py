"""Every private name of Django, redis-py, django-redis and others that the package leans on.

A contract test holds each of them.
"""

import contextlib
import selectors
import socket
from collections.abc import Callable, Iterator
from typing import Any, Final

from django.core.cache import caches
from django.core.cache.backends.base import (
    MEMCACHE_MAX_KEY_LENGTH,
    BaseCache,
    default_key_func,
    memcached_error_chars_re,
)
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.functional import LazyObject
from django_redis.cache import RedisCache
from django_redis.client.default import DefaultClient
from django_redis.compressors.identity import IdentityCompressor
from django_redis.serializers.pickle import PickleSerializer
from redis.connection import AbstractConnection

__all__ = [
    "client_class",
    "client_options",
    "client_servers",
    "csrf_token_noted",
    "has_own_keys",
    "has_unread",
    "interrupt",
    "is_connected",
    "is_pickled",
    "is_warned_of",
    "leave_out_of_cache",
    "live_caches",
    "loaded_user",
    "marks_of",
    "non_atomic_requests",
    "own_attributes",
    "receive_pushes",
    "set_client",
    "set_non_atomic_requests",
    "set_raising",
]

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


def has_unread(connection: AbstractConnection) -> bool:
    """Tell whether something has arrived that nobody has read, if only the end."""
    sock: socket.socket | None = connection._sock
    if sock is None:
        return False
    with selectors.DefaultSelector() as selector:
        selector.register(sock, selectors.EVENT_READ)
        return bool(selector.select(0))


def is_connected(connection: AbstractConnection) -> bool:
    """Tell whether a connection is open; redis-py has a public property for it since 8."""
    return connection._sock is not None


def client_class(backend: RedisCache[Any]) -> type[DefaultClient]:
    """Return the CLIENT_CLASS of a backend."""
    return backend._client_cls


def set_client(backend: RedisCache[Any], client: Any) -> None:
    """Let a backend use a client that we made, in the place of the one that it would make."""
    backend._client = client


def set_raising(backend: RedisCache[Any]) -> None:
    """Let a backend raise what its ``IGNORE_EXCEPTIONS`` would hide."""
    backend._ignore_exceptions = False


def client_options(backend: RedisCache[Any]) -> dict[str, Any]:
    """Return the OPTIONS that a backend's client goes by."""
    options: dict[str, Any] = backend.client._options
    return options


def is_pickled(backend: RedisCache[Any]) -> bool:
    """Tell whether a backend's client stores pickles and nothing around them."""
    client: Any = backend.client
    serializer, compressor = type(client._serializer), type(client._compressor)
    return serializer is PickleSerializer and compressor is IdentityCompressor


def client_servers(backend: RedisCache[Any]) -> list[str]:
    """Return the URLs of a backend's servers, the primary first."""
    return list(backend.client._server)


_find_odd: Callable[[str], object] = memcached_error_chars_re.search


def is_warned_of(final: str) -> bool:
    """Tell whether Django warns of a key; it takes 2 us itself, which is longer than a hit."""
    return len(final) > MEMCACHE_MAX_KEY_LENGTH or _find_odd(final) is not None


def has_own_keys(cache: Any) -> bool:
    """Tell whether it is up to the site, and may change, what a cache makes of a key."""
    kind = type(cache)
    return (
        cache.key_func is not default_key_func
        or kind.make_key is not BaseCache.make_key
        # One that is a property. Django sets them on the object.
        or any(hasattr(kind, name) for name in ("key_prefix", "version"))
    )


def live_caches() -> list[tuple[str, Any]]:
    """Return the alias and the backend of each cache that this thread or task has used."""
    made: Any = caches._connections  # type: ignore[attr-defined]
    found = [(alias, getattr(made, alias, None)) for alias in caches]
    return [(alias, backend) for alias, backend in found if backend is not None]


def own_attributes(backend: Any) -> dict[str, Any]:
    """Return the attributes of a cache without those that django-debug-toolbar put on it.

    Its methods there call those of this very object; another one is to get methods of its own.
    """
    return {
        name: value
        for name, value in vars(backend).items()
        if name != "_djdt_panel" and not (callable(value) and hasattr(type(backend), name))
    }


def loaded_user(request: HttpRequest) -> Any:
    """Return the user of a request if somebody has asked for it already, else None."""
    fields = vars(request)
    for name in ("_cached_user", "_acached_user"):
        if (user := fields.get(name)) is not None:
            return user
    user = fields.get("user")
    return None if issubclass(type(user), LazyObject) else user


@contextlib.contextmanager
def csrf_token_noted(request: HttpRequest) -> Iterator[Callable[[], bool]]:
    """Yield what tells whether the CSRF token was asked for inside the block.

    Then Django sets its cookie, with a middleware that may stand outside of where the response is.
    """
    meta = request.META
    before = meta.pop("CSRF_COOKIE_NEEDS_UPDATE", None)
    try:
        # False, too: then it was used, and a decorator of the view has seen to the cookie.
        yield lambda: "CSRF_COOKIE_NEEDS_UPDATE" in meta
    finally:
        if before is not None:
            meta.setdefault("CSRF_COOKIE_NEEDS_UPDATE", before)


_MARKS: Final = ("xframe_options_exempt", "_csp_config", "_csp_ro_config")


def marks_of(response: HttpResponseBase) -> dict[str, Any]:
    """Return what decorators of Django have set on a response for its middleware, by attribute."""
    fields = vars(response)
    return {name: fields[name] for name in _MARKS if name in fields}


def leave_out_of_cache(request: HttpRequest) -> None:
    """Have ``cache_page`` and UpdateCacheMiddleware keep no response to a request."""
    vars(request)["_cache_update_cache"] = False


def non_atomic_requests(view: Callable[..., Any]) -> set[str]:
    """Return the databases for which a view runs outside of the request's transaction."""
    return getattr(view, "_non_atomic_requests", set())


def set_non_atomic_requests(view: Any, aliases: set[str]) -> None:
    """Say for which databases it does; Django's decorator adds to this very set."""
    view._non_atomic_requests = aliases
