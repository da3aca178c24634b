"""Make django-redis's writers let go of what they wrote: after the reply, whatever that was."""

import functools
import inspect
import sys
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

from asgiref.sync import sync_to_async
from django_redis.cache import RedisCache
from django_redis.client.default import DefaultClient

from redis_optimizer.cache import methods
from redis_optimizer.cache.measured import Remote

__all__ = ["coherent", "coroutine"]

_NAME_A_KEY: Final = frozenset({"version", "version_dest", "prefix"})
"""Arguments that a final key is made of, beside the key."""

Backend = TypeVar("Backend", bound=type[RedisCache[Any]])


def coherent(backend: Backend) -> Backend:
    """Give a backend class the writers and coroutines that :mod:`.methods` lists.

    Args:
        backend: A subclass of RedisCache that has ``_final(key, version)``, ``_drop(finals)``,
            ``_drop_all()`` and ``_has_own_keys``.

    Returns:
        The same class.
    """
    for name, written in methods.WRITES.items():
        setattr(backend, name, _writer(name, written))
    for name in methods.ENDS_ALL:
        setattr(backend, name, _ender(name))
    for name in methods.ASYNC:
        setattr(backend, f"a{name}", coroutine(name))
    return backend


def _writer(name: str, written: tuple[methods.Written, ...]) -> Callable[..., Any]:
    """Make a writer that lets go of what it wrote: after the reply, whatever that was."""
    remote = getattr(Remote, name)
    names = _positional(getattr(DefaultClient, name))
    # With fewer arguments, and none of these names, the first is the key, of the cache's version.
    few = min((names.index(each) for each in _NAME_A_KEY if each in names), default=sys.maxsize)
    is_of_one = names[:1] == [written[0].key] and len(written) == 1

    @functools.wraps(remote)
    def write(self: Any, *args: Any, **kwargs: Any) -> Any:
        if is_of_one and 0 < len(args) <= few and _NAME_A_KEY.isdisjoint(kwargs):
            final = self._final(args[0], None)
            self.validate_key(final)
            finals = [final]
        else:
            finals = name_all(self, args, kwargs)
        try:
            return remote(self, *args, **kwargs)
        finally:
            self._drop(finals)

    def name_all(self: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[str]:
        given = dict(zip(names, args, strict=False)) | kwargs
        prefix = {"prefix": given["prefix"]} if given.get("prefix") is not None else {}
        finals = []
        for key, version in written:
            if key in given:
                value = given.get(version) if version else None
                final = self.client.make_key(given[key], version=value, **prefix)
                self.validate_key(final)
                finals.append(final)
        return finals

    return write


def _positional(method: Callable[..., Any]) -> list[str]:
    names = []
    for parameter in list(inspect.signature(method).parameters.values())[1:]:
        if parameter.kind is not parameter.POSITIONAL_OR_KEYWORD:
            break
        names.append(parameter.name)
    return names


def _ender(name: str) -> Callable[..., Any]:
    remote = getattr(Remote, name)

    @functools.wraps(remote)
    def write(self: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return remote(self, *args, **kwargs)
        finally:
            self._drop_all()

    return write


def coroutine(name: str) -> Callable[..., Awaitable[Any]]:
    """Make a coroutine that runs a method of the cache, whichever class has it, in a thread.

    Args:
        name: Of the method.
    """

    async def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        run = sync_to_async(getattr(self, name), thread_sensitive=self._has_own_keys)
        return await run(*args, **kwargs)

    call.__name__ = f"a{name}"
    call.__qualname__ = f"TieredCache.a{name}"
    call.__doc__ = f"See :meth:`{name}`."
    return call
