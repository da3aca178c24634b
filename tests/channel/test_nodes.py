"""The channel to a cluster: one to each primary, and a look at the cluster when there is news."""

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis

from redis_optimizer import nodes
from redis_optimizer.channel import CLIENT_NAME, Channel
from redis_optimizer.connections import Cluster, answering, find_cluster
from redis_optimizer.core.forks import begin_child
from redis_optimizer.embedded import HOST
from redis_optimizer.nodes import ClusterChannel
from redis_optimizer.stats.desk import desk
from redis_optimizer.topology import State, Topology
from tests.cache.test_fork import in_child
from tests.cluster import SLOTS, ClusterNode
from tests.servers import PATIENT, wait_until

from .listeners import Listener

ELSEWHERE = ("elsewhere", 1)


@pytest.fixture(scope="module")
def node() -> Iterator[ClusterNode]:
    """Return a cluster of one node, which knows no address of its own."""
    with ClusterNode() as node:
        node.ask("CLUSTER ADDSLOTSRANGE", 0, SLOTS - 1)
        wait_until(lambda: node.ask("CLUSTER INFO")["cluster_state"] == "ok")
        yield node


@pytest.fixture
def cluster(node: ClusterNode) -> Cluster:
    return find_cluster([f"redis://localhost:{node.port}"], {})


@pytest.fixture
def listen(cluster: Cluster) -> Iterator[Callable[[], tuple[ClusterChannel, Listener]]]:
    """Make a channel, and what listens to it; it is stopped with the test."""
    channel = ClusterChannel(cluster, "tests", desk, "tests")

    def begin() -> tuple[ClusterChannel, Listener]:
        listener = Listener(redis.Redis())
        assert channel.subscribe(listener)
        return channel, listener

    yield begin
    channel.stop()
    names = {thread.name for thread in threading.enumerate()}
    assert CLIENT_NAME not in names


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[Topology]:
    """Return what is found of the cluster, each time it is looked at."""
    found: list[Topology] = []

    def note(*args: Any) -> Topology:
        found.append(discover(*args))
        return found[-1]

    discover = nodes.discover
    monkeypatch.setattr(nodes, "discover", note)
    return found


def test_a_node_is_known_by_the_address_that_redis_py_knows_it_by(
    listen: Any, cluster: Cluster
) -> None:
    channel, listener = listen()
    listener.wait("up")
    with answering() as answered:
        cluster.client().get("k")
    assert answered
    assert channel.hears(answered)


def test_what_is_news_for_long_is_looked_at_now_and_then(
    listen: Any, looks: list[Topology]
) -> None:
    channel, listener = listen()
    listener.wait("up")
    began = time.monotonic()
    while (lasted := time.monotonic() - began) < 1.5 or len(looks) < 2:
        assert not channel.hears([ELSEWHERE])
        assert lasted < PATIENT
        time.sleep(0.001)
    # At the start, and after 0.05, 0.1, 0.2, 0.4 and 0.8 s; at most once a second later.
    assert len(looks) <= 6 + lasted
    assert listener.count("down") == 0


def test_it_ends_when_it_is_stopped_as_it_begins_to_look(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel = ClusterChannel(cluster, "tests", desk, "tests")

    class News(threading.Event):
        def clear(self) -> None:
            channel.stop()
            super().clear()

    monkeypatch.setattr(channel, "_news", News())
    assert channel.subscribe(Listener(redis.Redis()))
    wait_until(lambda: CLIENT_NAME not in {thread.name for thread in threading.enumerate()})


def test_where_no_more_threads_are_to_be_had_those_there_are_end(
    listen: Any, node: ClusterNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused: list[object] = []
    last = (HOST, 65_535)
    two = Topology(State(1, 2), ((0, 0, (HOST, node.port)), (1, SLOTS - 1, last)))
    subscribe = Channel.subscribe

    def start(channel: Channel, subscriber: Any) -> bool:
        if channel._pool.connection_kwargs["port"] == last[1]:
            refused.append(subscriber)
            raise RuntimeError("can't start new thread")
        return subscribe(channel, subscriber)

    monkeypatch.setattr(nodes, "discover", lambda *args: two)
    monkeypatch.setattr(Channel, "subscribe", start)
    channel, _ = listen()
    wait_until(lambda: len(refused) >= 2)
    assert "new thread" in channel.last_error


# pytest's own watchdog is a thread.
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_child_that_was_forked_in_c_has_a_client_of_its_own(cluster: Cluster) -> None:
    def child() -> None:
        client = cluster.client()
        begin_child()  # as uWSGI does, where Python learns of no fork
        assert cluster.client() is not client
        assert cluster.client().set("k", 1)

    in_child(child)
