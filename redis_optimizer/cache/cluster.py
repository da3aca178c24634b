"""ClusterClient: django-redis's client for a Redis Cluster."""

from collections.abc import Mapping
from typing import Any

from django.core.cache.backends.base import DEFAULT_TIMEOUT
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string
from django_redis.client.default import DefaultClient
from django_redis.exceptions import ConnectionInterrupted
from redis.connection import ConnectionPool
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError

from redis_optimizer.cache.options import Options
from redis_optimizer.conf import get_settings
from redis_optimizer.connections import (
    Cluster,
    ClusterUnavailable,
    SeveralSlots,
    Unreachable,
    find_cluster,
)
from redis_optimizer.stats.states import states_key

__all__ = ["ClusterClient", "SeveralSlots", "is_clustered", "refuse_options"]


class ClusterClient(DefaultClient[Any, Any, Any, Any, Any]):
    """Read and write a Redis Cluster, by redis-py's ``RedisCluster``.

    ::

        CACHES = {"default": {
            "BACKEND": "redis_optimizer.cache.TieredCache",
            "LOCATION": ["redis://node-1:6379", "redis://node-2:6379"],
            "OPTIONS": {"CLIENT_CLASS": "redis_optimizer.cache.cluster.ClusterClient"},
        }}

    All that django-redis's ``DefaultClient`` does works, with these differences: what is sent for
    many keys is no transaction, and a method that computes with several sets raises `SeveralSlots`
    unless all of them are in one slot.

    Args:
        server: LOCATION: some of the nodes, from which the others are learned.
        params: The rest of the cache's settings.
        backend: The cache.

    Raises:
        ImproperlyConfigured: for what a cluster does not have or cannot do.
    """

    def __init__(self, server: Any, params: dict[str, Any], backend: Any) -> None:
        super().__init__(server, params, backend)
        urls = [url.strip() for url in self._server]
        self.cluster: Cluster = find_cluster(urls, self._options)
        # One server, as far as reading and writing go.
        self._server = [",".join(urls)]
        self._clients = [None]

    def get_client(self, write: bool = True, tried: Any = None) -> Any:
        """Return the raw client, of redis-py. All caches of this cluster share it."""
        try:
            return self.cluster.client()
        except ClusterUnavailable as error:
            return Unreachable(error)

    def get_client_with_index(self, write: bool = True, tried: Any = None) -> tuple[Any, int]:
        """Return the raw client, and its place in LOCATION."""
        return self.get_client(), 0

    def connect(self, index: int = 0) -> Any:
        """Return the raw client."""
        return self.get_client()

    def do_close_clients(self) -> None:
        """Close all connections, where ``CLOSE_CONNECTION`` asks for it after each request."""
        self.cluster.disconnect()

    def control_pool(self) -> ConnectionPool:
        """Return a pool to the node where this site's processes keep which parts are off."""
        return self.cluster.pool_of(states_key(get_settings().NAMESPACE))

    def set_many(
        self,
        data: Mapping[Any, Any],
        timeout: Any = DEFAULT_TIMEOUT,
        version: int | None = None,
        client: Any = None,
    ) -> None:
        """Set all of ``data``, in one round trip for all nodes.

        Raises:
            ConnectionInterrupted: when a node did not take its share; those of others are set.
        """
        client = client or self.get_client()
        try:
            pipeline = client.pipeline()
            for key, value in data.items():
                self.set(key, value, timeout, version=version, client=pipeline)
            outcomes = pipeline.execute(raise_on_error=False)
            _raise_for(dict(zip(data, outcomes, strict=True)))
        except (RedisError, OSError) as error:
            raise ConnectionInterrupted(connection=client) from error


def _raise_for(outcomes: Mapping[Any, Any]) -> None:
    failed = {key: error for key, error in outcomes.items() if isinstance(error, Exception)}
    if not failed:
        return
    key, error = next(iter(failed.items()))
    kind = ResponseError if isinstance(error, ResponseError) else RedisConnectionError
    raise kind(
        f"{len(failed)} of {len(outcomes)} keys may not have been set, such as {key!r}: {error}"
    ) from error


def is_clustered(settings: Mapping[str, Any]) -> bool:
    """Say whether a cache is in a cluster.

    Args:
        settings: What ``CACHES`` says of an alias.
    """
    given = (settings.get("OPTIONS") or {}).get("CLIENT_CLASS")
    try:
        found = import_string(given) if isinstance(given, str) else given
    except ImportError:
        return False  # whoever makes the cache learns of it
    return isinstance(found, type) and issubclass(found, ClusterClient)


def refuse_options(options: Options) -> None:
    """Refuse those options of a tier that a cluster cannot have.

    Raises:
        ImproperlyConfigured: for such an option; the message names it.
    """
    if options.STALE_IF_ERROR:
        raise _refused("STALE_IF_ERROR", "it must be 0: one node may answer, and another not")
    if options.SINGLE_FLIGHT == "fleet":
        raise _refused("SINGLE_FLIGHT", '"fleet" needs a lock in the slot of each key')


def _refused(name: str, reason: str) -> ImproperlyConfigured:
    return ImproperlyConfigured(
        f'OPTIONS["L1"]["{name}"] cannot be used with ClusterClient: {reason}. Leave it out.'
    )
