"""The clusters of this process: each is known by one client, whoever uses it."""

import contextlib
import os
import threading
from collections.abc import Mapping, Sequence
from typing import Any, Final

from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string
from django_redis.pool import ConnectionFactory
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode
from redis.connection import Connection, ConnectionPool, parse_url
from redis.exceptions import RedisClusterException, ResponseError
from redis.retry import Retry

from redis_optimizer.connections.cluster_client import (
    Address,
    ClusterRedis,
    ClusterUnavailable,
    telling,
)
from redis_optimizer.connections.counting import count_pool
from redis_optimizer.core.forks import around_fork

__all__ = ["Cluster", "find_cluster"]

REFUSED: Final = {
    "CONNECTION_FACTORY": "the client makes its connections itself",
    "REDIS_CLIENT_CLASS": "the client is redis-py's RedisCluster",
    "SENTINELS": "a cluster has none",
}
"""Options of django-redis that mean nothing here, and why."""

CLIENT_OPTIONS: Final = (
    "address_remap",
    "dynamic_startup_nodes",
    "reinitialize_steps",
    "require_full_coverage",
)
"""Arguments of RedisCluster that REDIS_CLIENT_KWARGS may hold. Those that read replicas are not
among them: a replica may not have heard of a write that this process was already told of."""


class Cluster:
    """One cluster, as a cache's LOCATION and OPTIONS name it.

    Args:
        urls: Of nodes to begin with.
        options: OPTIONS of the cache.

    Raises:
        ImproperlyConfigured: for what a cluster does not have or cannot do.
    """

    def __init__(self, urls: Sequence[str], options: Mapping[str, Any]) -> None:
        self._params = _connection_params(options)
        self._retry = self._params.pop("retry", None)
        self._client_options: dict[str, Any] = dict(options.get("REDIS_CLIENT_KWARGS", {}))
        pool = options.get("CONNECTION_POOL_CLASS", "redis.connection.ConnectionPool")
        self._pool_class: Any = import_string(pool)
        self.start_nodes: list[Address] = []
        """Where to ask first which nodes there are."""
        first: dict[str, Any] | None = None
        for url in urls:
            given = _parse(url)
            self.start_nodes.append((given.pop("host"), given.pop("port")))
            if first not in (None, given):
                raise ImproperlyConfigured(
                    "LOCATION: the URLs of a cluster's nodes may differ in host and port alone."
                )
            first = given
        self._params |= first or {}  # as in django-redis, what the URL says goes first
        self.reset()

    def reset(self) -> None:
        """Begin anew, as a forked child does: nothing of the parent's is used."""
        self._lock = threading.Lock()
        self._client: ClusterRedis | None = None
        self._failures = 0
        self._failure = ""
        self._pools: dict[Address, ConnectionPool] = {}
        self._pid = os.getpid()  # last: whoever sees it finds nothing of the parent's

    def client(self) -> ClusterRedis:
        """Return the client, made at the first call: that asks a node which others there are.

        Raises:
            redis.exceptions.ConnectionError: when none can be reached.
        """
        if self._pid != os.getpid():  # forked without Python's knowledge
            self.abandon()
        client = self._client
        if client is not None:
            return client
        failures = self._failures
        with self._lock:
            if self._client is not None:
                return self._client
            # Whoever waited for another's attempt has waited for as long as one takes.
            if failures != self._failures:
                raise ClusterUnavailable(self._failure)
            try:
                self._client = self._connect()
            except ClusterUnavailable as error:
                self._failures += 1
                self._failure = str(error)
                raise
            return self._client

    def abandon(self) -> None:
        """In a forked child: close the copies of the parent's sockets, and begin anew."""
        client = self._client
        self.reset()
        if client is None:
            return
        _left.append(client)  # to be deleted it would need its lock, which may be held for ever
        for node in list(client.nodes_manager.nodes_cache.values()):
            if node.redis_connection is not None:
                with contextlib.suppress(Exception):
                    node.redis_connection.connection_pool.reset()

    def pool(self, address: Address) -> ConnectionPool:
        """Return a pool to one node, from which channels are made. It lends no connection."""
        pool = self._pools.get(address)
        if pool is None:
            host, port = address
            pool = self._pools.setdefault(address, self._make_pool(host=host, port=port))
        return pool

    def pool_of(self, key: str) -> ConnectionPool:
        """Return the pool to the node that now owns a key.

        Raises:
            redis.exceptions.ConnectionError: when no node can be reached, or none owns it.
        """
        client: Any = self.client()
        try:
            node = client.get_node_from_key(key)
        except RedisClusterException as error:
            raise ClusterUnavailable(str(error)) from error
        pool: ConnectionPool = client.get_redis_connection(node).connection_pool
        return pool

    def pools(self) -> list[ConnectionPool]:
        """Return the pool to each primary.

        Raises:
            redis.exceptions.ConnectionError: when no node can be reached.
        """
        client: Any = self.client()
        nodes = sorted(client.get_primaries(), key=lambda node: str(node.name))
        return [client.get_redis_connection(node).connection_pool for node in nodes]

    def disconnect(self) -> None:
        """Close all connections there are; the client makes new ones when it needs them."""
        client: Any = self._client
        if client is not None and self._pid == os.getpid():
            client.disconnect_connection_pools()

    def remap(self, address: Address) -> Address:
        """Return where a node is reached that is said to be at ``address``."""
        remap = self._client_options.get("address_remap")
        node = ClusterNode(*(address if remap is None else remap(address)))
        return node.host, node.port  # redis-py looks up "localhost" itself

    def _connect(self) -> ClusterRedis:
        (host, port), *others = self.start_nodes
        try:
            return ClusterRedis(
                # Only with a URL does redis-py make pools of the class that it is given.
                url=f"redis://{_bracketed(host)}:{port}",
                startup_nodes=[ClusterNode(*other) for other in others],
                connection_pool_class=self._make_pool,
                # MOVED and ASK are followed all the same. What else is repeated may have been done.
                retry=self._retry or Retry(NoBackoff(), 0),
                **self._client_options,
            )
        except (RedisClusterException, ResponseError, OSError) as error:
            raise ClusterUnavailable(str(error)) from error

    def _make_pool(self, **given: Any) -> ConnectionPool:
        options = {**given, **self._params}
        options["connection_class"] = telling(options.get("connection_class", Connection))
        pool: ConnectionPool = self._pool_class(**options)
        count_pool(pool, "cache")
        return pool


_clusters: Final[dict[str, Cluster]] = {}
_left: Final[list[ClusterRedis]] = []


def find_cluster(urls: Sequence[str], options: Mapping[str, Any]) -> Cluster:
    """Return the cluster of a cache, made now if need be; it connects later.

    Caches whose address and connection options are the same have the same one.

    Args:
        urls: LOCATION, as a list.
        options: OPTIONS.

    Raises:
        ImproperlyConfigured: for what a cluster does not have or cannot do.
    """
    _refuse(options)
    names = ("CONNECTION_POOL_CLASS", "CONNECTION_POOL_KWARGS", "REDIS_CLIENT_KWARGS")
    identity = repr(
        (list(urls), _connection_params(options), [options.get(name) for name in names])
    )
    cluster = _clusters.get(identity)
    if cluster is None:
        cluster = _clusters.setdefault(identity, Cluster(urls, options))
    return cluster


def _refuse(options: Mapping[str, Any]) -> None:
    for name, reason in REFUSED.items():
        if options.get(name):
            raise ImproperlyConfigured(
                f'OPTIONS["{name}"] cannot be used with ClusterClient: {reason}. Leave it out.'
            )
    for name in options.get("REDIS_CLIENT_KWARGS", {}):
        if name not in CLIENT_OPTIONS:
            raise ImproperlyConfigured(
                f'OPTIONS["REDIS_CLIENT_KWARGS"]["{name}"] cannot be used with ClusterClient. '
                f"It takes: {', '.join(CLIENT_OPTIONS)}."
            )


def _connection_params(options: Mapping[str, Any]) -> dict[str, Any]:
    params = ConnectionFactory(dict(options)).make_connection_params("")
    del params["url"]
    return {**params, **options.get("CONNECTION_POOL_KWARGS", {})}


def _parse(url: str) -> dict[str, Any]:
    given: dict[str, Any] = parse_url(url)
    if "path" in given:
        raise ImproperlyConfigured(
            "LOCATION: a cluster is not reached by a Unix socket. Name hosts and ports."
        )
    if given.pop("db", 0):
        raise ImproperlyConfigured("LOCATION: a cluster has database 0 alone. Name no other.")
    return {**given, "host": given.get("host", "localhost"), "port": given.get("port", 6379)}


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _after_fork_in_child() -> None:
    for cluster in _clusters.values():
        cluster.abandon()


around_fork(after_in_child=_after_fork_in_child)
