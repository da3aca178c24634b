"""redis-py's cluster client, with what a cache needs of it."""

import contextlib
import functools
import threading
from collections.abc import Iterator
from typing import Any, Final

from redis.cluster import ClusterNode, ClusterPipeline, RedisCluster
from redis.connection import AbstractConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisClusterException

__all__ = [
    "Address",
    "ClusterRedis",
    "ClusterUnavailable",
    "SeveralSlots",
    "Unreachable",
    "answering",
    "telling",
]

Address = tuple[str, int]
"""Host and port of a node."""

PRIMARY: Final = "primary"

CLOSED: Final = "Another thread closed the connection."


class ClusterUnavailable(RedisConnectionError):
    """No node can be reached, or nobody serves the slots that are needed."""


class SeveralSlots(RedisClusterException, ValueError):
    """A command that a cluster runs only where all its keys are in one slot."""


class _Node:
    """What the client and its pipelines have in common."""

    def execute_command(self, *args: Any, **kwargs: Any) -> Any:
        parent: Any = super()
        return _translated(parent.execute_command, *args, **kwargs)

    def determine_slot(self, *args: Any) -> Any:
        parent: Any = super()
        try:
            return parent.determine_slot(*args)
        except RedisClusterException as error:
            raise SeveralSlots(
                f"{error}. Keys with the same hash tag, such as {{cart}}:1 and {{cart}}:2, do."
            ) from error

    def get_node(
        self, host: str | None = None, port: int | None = None, node_name: str | None = None
    ) -> Any:
        parent: Any = super()
        node = parent.get_node(host, port, node_name)
        if node is None and node_name:
            # An ASK names a node that has no slot yet. redis-py knows none but those that have.
            host, _, digits = node_name.rpartition(":")
            node = ClusterNode(host, int(digits), PRIMARY)
            known = self.nodes_manager.nodes_cache  # type: ignore[attr-defined]  # mixed in
            node = known.setdefault(node_name, node)
        return node


class _Pipeline(_Node, ClusterPipeline):
    """A pipeline over all nodes. It is no transaction."""

    def execute(self, raise_on_error: bool = True) -> list[Any]:
        found: list[Any] = _translated(super().execute, raise_on_error)
        return found


class ClusterRedis(_Node, RedisCluster):
    """A cluster client whose commands for many keys may name keys of any slots.

    An error of the cluster as a whole is a ``ConnectionError``, as with a single server.
    """

    def mget(self, keys: Any, *args: Any) -> Any:
        """Read keys of any slots, in one round trip for all nodes."""
        return self.mget_nonatomic(keys, *args)

    def keys(self, pattern: Any = "*", **kwargs: Any) -> Any:
        """Return the keys that match, of all primaries."""
        kwargs.setdefault("target_nodes", self.PRIMARIES)
        return super().keys(pattern, **kwargs)

    def ping(self, **kwargs: Any) -> Any:
        """Ask every primary whether it lives."""
        kwargs.setdefault("target_nodes", self.PRIMARIES)
        return super().ping(**kwargs)

    def pipeline(self, transaction: Any = None, shard_hint: Any = None) -> Any:
        """Return a pipeline over all nodes; ``transaction`` must not be asked for."""
        parent: Any = super()
        made = parent.pipeline(transaction, shard_hint)
        made.__class__ = _Pipeline
        return made


class Unreachable:
    """Stands in for the client while none can be made: each command fails, as it would then.

    Args:
        error: How it fails.
    """

    def __init__(self, error: ClusterUnavailable) -> None:
        self._error = str(error)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "connection_pool":  # nor has a client of a cluster one
            raise AttributeError(name)

        def fail(*args: Any, **kwargs: Any) -> Any:
            raise ClusterUnavailable(self._error)

        return fail


def _translated(call: Any, *args: Any, **kwargs: Any) -> Any:
    # They are no RedisError: neither IGNORE_EXCEPTIONS nor a site's own code expects them.
    try:
        return call(*args, **kwargs)
    except SeveralSlots:
        raise
    except RedisClusterException as error:
        raise ClusterUnavailable(str(error)) from error


# Who answers

_local: Final = threading.local()


@contextlib.contextmanager
def answering() -> Iterator[set[Address]]:
    """Yield a set that takes up each node that answers this thread inside the block.

    A node that sends it elsewhere has not answered.
    """
    outer = getattr(_local, "nodes", None)
    nodes: set[Address] = set()
    _local.nodes = nodes
    try:
        yield nodes
    finally:
        _local.nodes = outer


class _Telling:
    """What is put before a class of connections.

    A thread of redis-py 6 that has asked a node which others there are closes all connections to
    it, also those in use: what they are made of is closed or gone then, amid a command.
    """

    host: str
    port: int

    def send_packed_command(self, *args: Any, **kwargs: Any) -> Any:
        parent: Any = super()
        try:
            return parent.send_packed_command(*args, **kwargs)
        except (AttributeError, ValueError) as error:
            raise RedisConnectionError(CLOSED) from error

    def read_response(self, *args: Any, **kwargs: Any) -> Any:
        parent: Any = super()
        try:
            reply = parent.read_response(*args, **kwargs)
        except UnicodeError:  # it is the reply that is wrong
            raise
        except (AttributeError, ValueError) as error:
            raise RedisConnectionError(CLOSED) from error
        nodes = getattr(_local, "nodes", None)
        if nodes is not None:
            nodes.add((self.host, int(self.port)))
        return reply


@functools.cache
def telling(connection_class: type[AbstractConnection]) -> Any:
    """Return a class of connections like the given one, for `answering`."""
    return type(
        connection_class.__name__,
        (_Telling, connection_class),
        {"__module__": connection_class.__module__},
    )
