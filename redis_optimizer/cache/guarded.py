"""django-redis's client with each command going through a guard; raw clients are left alone."""

import functools
from collections.abc import Callable
from typing import Any

from django_redis.client.default import DefaultClient

from redis_optimizer.cache.outage import Guard, guard_of

__all__ = ["GuardedClient"]


class GuardedClient:
    """Stand in for the django-redis client of a cache.

    Its methods are those of a client whose Redis clients are guarded. Those that it hands out, as
    ``get_redis_connection`` asks for them, are the site's own to use, and are not.

    Args:
        make: Makes a django-redis client of the cache.
    """

    def __init__(self, make: Callable[[], DefaultClient]) -> None:
        self._make = make

    @functools.cached_property
    def _raw(self) -> Any:
        return self._make()

    @functools.cached_property
    def _own(self) -> Any:
        own: Any = self._make()
        connect = own.connect
        own.connect = lambda *args, **kwargs: _guard(connect(*args, **kwargs))
        return own

    def __getattr__(self, name: str) -> Any:
        return getattr(self._own, name)

    def __contains__(self, key: Any) -> bool:
        return key in self._own

    def primary(self) -> Any:
        """Return the guarded Redis client of the primary."""
        return self._own.get_client(write=True)

    def get_client(self, *args: Any, **kwargs: Any) -> Any:
        """Return a raw Redis client."""
        return self._raw.get_client(*args, **kwargs)

    def get_client_with_index(self, *args: Any, **kwargs: Any) -> Any:
        """Return a raw Redis client, and its server's place in LOCATION."""
        return self._raw.get_client_with_index(*args, **kwargs)

    def connect(self, *args: Any, **kwargs: Any) -> Any:
        """Return a new raw Redis client."""
        return self._raw.connect(*args, **kwargs)

    def close(self) -> None:
        """Close the connections, where django-redis is told to."""
        for name in ("_raw", "_own"):
            if name in vars(self):
                getattr(self, name).close()


def _guard(redis: Any) -> Any:
    return _mix(_Commands, redis, guard_of(redis.connection_pool))


def _mix(mixin: type, made: Any, guard: Guard) -> Any:
    # Its class is changed, not its methods: those would make a cycle of it.
    kind: Any = type(made)
    made.__class__ = _mixed(mixin, kind)
    made.guard = guard
    return made


@functools.cache
def _mixed(mixin: Any, kind: Any) -> type:
    return type(f"Guarded{kind.__name__}", (mixin, kind), {})


class _Commands:
    """What makes a Redis client guarded."""

    guard: Guard

    def execute_command(self, *args: Any, **options: Any) -> Any:
        parent: Any = super()
        return self.guard.run(parent.execute_command, *args, **options)

    def pipeline(self, *args: Any, **kwargs: Any) -> Any:
        parent: Any = super()
        return _mix(_Together, parent.pipeline(*args, **kwargs), self.guard)


class _Together:
    """What makes a pipeline guarded: its commands are sent when it is executed."""

    guard: Guard

    def execute(self, *args: Any, **kwargs: Any) -> Any:
        parent: Any = super()
        return self.guard.run(parent.execute, *args, **kwargs)
