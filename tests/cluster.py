"""A real Redis Cluster on the loopback interface, and what happens to one."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import redis
from redis.crc import key_slot

from redis_optimizer.embedded import HOST, EmbeddedServer, free_port

from .servers import QUICK_SYNC, connect, wait_until

SLOTS = 16_384
# Milliseconds. It is also what a failover takes at the least.
NODE_TIMEOUT = 1000
FORMED_WITHIN = 60.0  # seconds; 2 s on an idle machine


class ClusterNode(EmbeddedServer):
    """A server that can be part of a cluster."""

    def __init__(self) -> None:
        # The default is the port + 10,000, which there may not be.
        self.bus = free_port()
        super().__init__(
            args=(
                *("--cluster-enabled", "yes", "--cluster-node-timeout", str(NODE_TIMEOUT)),
                *("--cluster-port", str(self.bus), *QUICK_SYNC),
                # Else a replica that was cut off for 10 s may not take over.
                *("--cluster-replica-validity-factor", "0"),
            )
        )

    @property
    def client(self) -> redis.Redis:
        """Return a client of the tests' own."""
        return connect(self, timeout=5)

    def ask(self, *command: Any) -> Any:
        """Send a command and return the answer."""
        with self.client as client:
            return client.execute_command(*command)

    @property
    def name(self) -> str:
        """Return the name that the nodes call it by."""
        return str(self.ask("CLUSTER MYID"))

    @property
    def address(self) -> tuple[str, int]:
        return HOST, self.port


class Cluster:
    """Three primaries, and replicas as they are asked for. Make one with `cluster`."""

    def __init__(self, stack: contextlib.ExitStack) -> None:
        self._stack = stack
        self.nodes: list[ClusterNode] = []

    @property
    def urls(self) -> list[str]:
        """Return what LOCATION is to be: two of the nodes."""
        return [f"redis://{HOST}:{node.port}" for node in self.living[:2]]

    @property
    def living(self) -> list[ClusterNode]:
        return [node for node in self.nodes if node.running]

    def owner(self, key: str) -> ClusterNode:
        """Return the node that serves a final key."""
        slot = key_slot(key.encode())
        for low, high, (_, port, *_), *_ in _slots(self.living[0]):
            if low <= slot <= high:
                return next(node for node in self.nodes if node.port == port)
        raise AssertionError(f"nobody serves {key!r}")

    def slots_of(self, node: ClusterNode) -> set[int]:
        """Return the slots that a node serves."""
        return {
            slot
            for low, high, (_, port, *_), *_ in _slots(self.living[0])
            if port == node.port
            for slot in range(low, high + 1)
        }

    def primaries(self) -> list[ClusterNode]:
        """Return the nodes that serve slots."""
        ports = {primary[1] for _, _, primary, *_ in _slots(self.living[0])}
        return [node for node in self.nodes if node.port in ports]

    def raw(self) -> Any:
        """Return a client that no cache knows of."""
        return redis.RedisCluster(HOST, self.living[0].port)

    def flush(self) -> None:
        for node in self.primaries():
            node.ask("FLUSHALL")

    def add(self, *, replica_of: ClusterNode | None = None) -> ClusterNode:
        """Add a node, which serves no slots."""
        node = self._stack.enter_context(ClusterNode())
        self.nodes.append(node)
        if len(self.nodes) > 1:
            other = self.living[0]
            node.ask("CLUSTER MEET", HOST, other.port, other.bus)
            self._wait_known()
            self.wait_ok()
        if replica_of is not None:
            wait_until(lambda: node.ask("CLUSTER REPLICATE", replica_of.name), FORMED_WITHIN)
            wait_until(lambda: _role(node) == "slave" and _is_linked(node), FORMED_WITHIN)
        return node

    def assign(self, nodes: Sequence[ClusterNode]) -> None:
        """Give each node its share of the slots."""
        for number, node in enumerate(nodes):
            low, high = (n * SLOTS // len(nodes) for n in (number, number + 1))
            node.ask("CLUSTER ADDSLOTSRANGE", low, high - 1)
        self.wait_ok()

    def move(self, key: str, target: ClusterNode, *, then: bool = True) -> "Move":
        """Begin to move the slot of a final key, with all that is in it, and end it as well."""
        move = Move(self, key, target)
        move.begin()
        if then:
            move.carry()
            move.end()
        return move

    def wait_ok(self) -> None:
        """Wait until every node says that the cluster works, and knows the same owners."""
        wait_until(self._is_ok, FORMED_WITHIN)

    def _is_ok(self) -> bool:
        states = [node.ask("CLUSTER INFO") for node in self.living]
        owners = [[slot[:3] for slot in sorted(_slots(node))] for node in self.living]
        return all(state["cluster_state"] == "ok" for state in states) and all(
            owner == owners[0] for owner in owners
        )

    def _wait_known(self) -> None:
        living = self.living
        wait_until(lambda: all(_known(node) >= len(living) for node in living), FORMED_WITHIN)


class Move:
    """One slot on its way to another node, by MIGRATE."""

    def __init__(self, cluster: Cluster, key: str, target: ClusterNode) -> None:
        self.cluster = cluster
        self.slot = key_slot(key.encode())
        self.source, self.target = cluster.owner(key), target

    def begin(self) -> None:
        self.target.ask("CLUSTER SETSLOT", self.slot, "IMPORTING", self.source.name)
        self.source.ask("CLUSTER SETSLOT", self.slot, "MIGRATING", self.target.name)

    def carry(self) -> None:
        """Move the keys."""
        host, port = self.target.address
        while keys := self.source.ask("CLUSTER GETKEYSINSLOT", self.slot, 100):
            self.source.ask("MIGRATE", host, port, "", 0, 5000, "KEYS", *keys)

    def end(self) -> None:
        """Let everybody know the new owner."""
        name = self.target.name
        for node in dict.fromkeys([self.target, self.source, *self.cluster.primaries()]):
            node.ask("CLUSTER SETSLOT", self.slot, "NODE", name)
        self.cluster.wait_ok()


@contextlib.contextmanager
def cluster() -> Iterator[Cluster]:
    """Run a cluster of three primaries."""
    with contextlib.ExitStack() as stack:
        made = Cluster(stack)
        nodes = [stack.enter_context(ClusterNode()) for _ in range(3)]
        made.nodes = nodes
        for epoch, node in enumerate(nodes, 1):
            node.ask("CLUSTER SET-CONFIG-EPOCH", epoch)
            nodes[0].ask("CLUSTER MEET", HOST, node.port, node.bus)
        made._wait_known()
        made.assign(nodes)
        yield made


def failover(replica: ClusterNode) -> None:
    """Let a replica take over from its primary, which lives."""
    replica.ask("CLUSTER FAILOVER")
    wait_until(lambda: _role(replica) == "master", FORMED_WITHIN)


def _slots(node: ClusterNode) -> list[Any]:
    # As it comes: the forms into which redis-py's releases bring it differ.
    with node.client as client:
        connection = client.connection_pool.get_connection()
        try:
            connection.send_command("CLUSTER SLOTS")
            return list(connection.read_response())
        finally:
            client.connection_pool.release(connection)


def _known(node: ClusterNode) -> int:
    return int(node.ask("CLUSTER INFO")["cluster_known_nodes"])


def _role(node: ClusterNode) -> str:
    with node.client as client:
        return str(client.info("replication")["role"])


def _is_linked(node: ClusterNode) -> bool:
    with node.client as client:
        return client.info("replication")["master_link_status"] == "up"
