"""What a cache does for a request that is measured; other requests pay next to nothing for it."""

import functools
from collections.abc import Callable
from time import perf_counter
from typing import Any, Final

from django.core.cache import caches
from django_redis.cache import RedisCache

from redis_optimizer.cache import methods
from redis_optimizer.connections import count_pool
from redis_optimizer.core.store import Entry, LocalStore
from redis_optimizer.internals import live_caches, own_attributes
from redis_optimizer.stats.costs import Costs, current, measuring

__all__ = [
    "CountedStore",
    "Remote",
    "counted",
    "measured",
    "measured_in_place",
    "timed",
    "timed_for",
]

_SENDS_NOTHING: Final = frozenset(
    {
        "close",
        "get_backend_timeout",
        "iter_keys",  # what is iterated sends, later
        "lock",
        "make_and_validate_key",
        "make_key",
        "sscan_iter",
        "validate_key",
    }
)
_MADE_OF_OTHERS: Final = frozenset({"decr_version", "get_or_set"})

SENDS: Final = frozenset().union(
    methods.WRITES, methods.SPECIAL, methods.ENDS_ALL, methods.SERVED, methods.PASSED_ON
) - (_SENDS_NOTHING | _MADE_OF_OTHERS)
"""Methods of django-redis's backend that go to Redis, each once or, where it must, a few times."""


def timed(call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call what goes to Redis, and add that to the costs of the request."""
    return timed_for(None, call, *args, **kwargs)


def timed_for(cache: Any, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Do the same for a cache, where that is known."""
    costs = current()
    if costs is None:
        return call(*args, **kwargs)
    began = perf_counter()
    try:
        return call(*args, **kwargs)
    finally:
        store = getattr(cache, "_store", None)
        costs.add_trip(perf_counter() - began, getattr(store, "real", store))


class _Connections:
    """A connection factory of django-redis whose pools count what they send."""

    def __init__(self, factory: Any) -> None:
        self._factory = factory

    def __getattr__(self, name: str) -> Any:
        return getattr(self._factory, name)

    def connect(self, url: str) -> Any:
        """Return a client, as the factory does."""
        client = self._factory.connect(url)
        count_pool(getattr(client, "connection_pool", None), "cache")  # a cluster's has none
        return client


class Remote(RedisCache[Any]):
    """django-redis's backend: each call that goes to Redis is timed, and its commands counted."""

    _store: Any

    @property
    def client(self) -> Any:
        """The django-redis client, made when it is first needed."""
        client = super().client
        factory = getattr(client, "connection_factory", None)  # a site's own class may do without
        if factory is not None and not isinstance(factory, _Connections):
            client.connection_factory = _Connections(factory)
        return client


def _timed(name: str) -> Callable[..., Any]:
    remote = getattr(RedisCache, name)

    @functools.wraps(remote)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        if current() is None:  # as a rule; then it is one call less
            return remote(self, *args, **kwargs)
        return timed_for(self, remote, self, *args, **kwargs)

    return call


for _name in SENDS:
    setattr(Remote, _name, _timed(_name))


class CountedStore:
    """A store as a cache sees it during a request that is measured: each hit is counted twice.

    It takes the place of the real one inside the cache, so that a hit of any other request runs
    not one instruction more.
    """

    __slots__ = ("costs", "outer", "real")

    def __init__(self, store: "LocalStore | CountedStore", costs: Costs) -> None:
        self.outer = store
        """What stood in this place before."""
        self.real: LocalStore = store.real if isinstance(store, CountedStore) else store
        self.costs = costs

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)

    @property
    def hits(self) -> float:
        """What TieredCache.get adds one to."""
        return self.real.hits

    @hits.setter
    def hits(self, _: float) -> None:
        self.real.hits += 1.0  # not the given number: another thread may have counted meanwhile
        self.costs.add_hit(self.real)

    def find(self, key: str) -> Entry | None:
        """Return an entry, as the real one does."""
        entry = self.real.find(key)
        if entry is not None:
            self.costs.add_hit(self.real)
        return entry


def counted(cache: Remote, store: LocalStore) -> Any:
    """Return what a cache that is made now should take for its store, until the request ends."""
    costs = current()
    if costs is None:
        return store
    costs.caches.append(cache)
    return CountedStore(store, costs)


class measured(measuring):  # noqa: N801
    """Count also what the caches do inside, in this thread or task.

    Args:
        costs: What it is added to.
    """

    __slots__ = ()

    def __enter__(self) -> None:
        super().__enter__()
        for alias, cache in live_caches():
            if isinstance(cache, Remote):
                caches[alias] = twin = _twin(cache, self._costs)
                self._costs.caches.append(twin)

    def __exit__(self, *exception: object) -> None:
        super().__exit__(*exception)
        for cache in self._costs.caches:
            if isinstance(cache._store, CountedStore):
                cache._store = outer = cache._store.outer
                if isinstance(outer, CountedStore):
                    outer.costs.caches.append(cache)


class measured_in_place(measured):  # noqa: N801
    """The same for tools of development that hold on to the caches themselves.

    Tasks that share a cache with this one are measured, too.
    """

    __slots__ = ()

    def __enter__(self) -> None:
        measuring.__enter__(self)
        for _, cache in live_caches():
            if isinstance(cache, Remote):
                cache._store = CountedStore(cache._store, self._costs)
                self._costs.caches.append(cache)


def _twin(cache: Any, costs: Costs) -> Any:
    """Return the same cache with a store that counts.

    Not the cache itself is changed: tasks that began in one context share it.
    """
    twin = object.__new__(type(cache))
    twin.__dict__.update(own_attributes(cache), _store=CountedStore(cache._store, costs))
    return twin
