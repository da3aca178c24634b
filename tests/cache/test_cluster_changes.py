"""What is kept of a cluster is what its nodes hold, also while the cluster changes."""

import os
import re
import time
from collections.abc import Iterator

import pytest

from redis_optimizer.cache import TieredCache
from tests.cluster import Cluster, ClusterNode, cluster, failover
from tests.security.test_acl import RULES
from tests.servers import wait_until
from tests.tasks.processes import ROOT

from .caches import QUICK, is_kept, wait_dropped
from .clusters import (
    PATIENT,
    clustered,
    final,
    keep,
    key_on,
    outside,
    own_channels,
    wait_covered,
)
from .test_cluster import user
from .test_fork import in_child

__all__ = ["user"]

MANY = {f"k{n}": n for n in range(40)}


@pytest.fixture
def cache(nodes: Cluster) -> TieredCache:
    """Return a cache whose channels send no PING: it learns of changes by what it reads."""
    return clustered(nodes)


def hears(cache: TieredCache, nodes: Cluster) -> None:
    """Assert that the cache is told of what others write on any node."""
    keep(cache, nodes, MANY)
    outside(nodes).set_many(dict.fromkeys(MANY, "theirs"))
    for key in MANY:
        wait_dropped(cache, key)
    assert cache.get_many(MANY) == dict.fromkeys(MANY, "theirs")


class TestCoherence:
    def test_a_write_on_any_node_is_told(self, cache: TieredCache, nodes: Cluster) -> None:
        hears(cache, nodes)
        assert cache.stats()["coherence"] == "tracking"

    def test_there_is_a_channel_to_each_primary(self, cache: TieredCache, nodes: Cluster) -> None:
        wait_covered(cache, nodes)
        for node in nodes.primaries():
            assert own_channels(node) == [f"redis_optimizer:channel:{os.getpid()}"]

    def test_caches_of_one_cluster_share_them(self, cache: TieredCache, nodes: Cluster) -> None:
        other = clustered(nodes, prefix="other")
        for each in (cache, other):
            assert each.tier.wait_ready(PATIENT)
        wait_covered(cache, nodes)
        for node in nodes.primaries():
            assert len(own_channels(node)) == 1
        hears(cache, nodes)

    def test_one_node_that_is_emptied_lets_go_of_all(
        self, cache: TieredCache, nodes: Cluster
    ) -> None:
        keep(cache, nodes, MANY)
        nodes.owner(final("k1")).ask("FLUSHALL")
        for key in MANY:
            wait_dropped(cache, key)
        assert cache.get("k1") is None

    def test_one_channel_that_is_lost_lets_go_of_all(
        self, cache: TieredCache, nodes: Cluster
    ) -> None:
        keep(cache, nodes, MANY)
        flushes = cache.stats()["flushes"]
        with nodes.owner(final("k1")).client as client:
            for each in client.client_list():
                if each["name"].startswith("redis_optimizer:channel:"):
                    client.client_kill_filter(_id=each["id"])
        wait_until(lambda: cache.stats()["flushes"] > flushes, PATIENT)
        assert not any(is_kept(cache, key) for key in MANY)
        assert cache.tier.wait_ready(PATIENT)
        hears(cache, nodes)

    def test_a_node_that_refuses_makes_for_short_lives(
        self, nodes: Cluster, user: dict[str, str]
    ) -> None:
        nodes.primaries()[0].ask("ACL", "SETUSER", user["USERNAME"], "-client|tracking")
        cache = clustered(nodes, l1={**QUICK, "HEARTBEAT": 1, "MAX_STALENESS": 3}, **user)
        wait_until(lambda: cache.stats()["coherence"] == "refused", PATIENT)
        outside(nodes).set_many(MANY)

        def is_kept_shortly(key: str) -> bool:
            assert cache.get(key) == MANY[key]
            entry = cache.tier.store.entries.get(final(key))
            return entry is not None and entry.expires_at - time.monotonic() <= 3

        for key in MANY:
            wait_until(lambda key=key: is_kept_shortly(key), PATIENT)

    def test_so_do_nodes_that_do_not_say_who_has_which_slots(
        self,
        nodes: Cluster,
        user: dict[str, str],
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        monkeypatch.setattr("redis_optimizer.nodes.REFUSED_AGAIN", 0.1)
        for node in nodes.primaries():
            node.ask("ACL", "SETUSER", user["USERNAME"], "-cluster|info")
        cache = clustered(nodes, l1=QUICK, **user)
        wait_until(lambda: cache.stats()["coherence"] == "refused", PATIENT)
        for node in nodes.primaries():
            node.ask("ACL", "SETUSER", user["USERNAME"], "+cluster|info")
        wait_until(lambda: cache.stats()["coherence"] == "tracking", PATIENT)
        warnings = [each for each in caplog.records if each.levelname == "WARNING"]
        assert ["CLUSTER INFO" in each.getMessage() for each in warnings] == [True]


def test_the_rules_of_the_pages_are_enough(nodes: Cluster, user: dict[str, str]) -> None:
    page = (ROOT / "docs" / "cluster.rst").read_text()
    rules = [*RULES, *re.findall(r"^ +ACL SETUSER (.+)$", page, re.MULTILINE)]
    name = user["USERNAME"]
    for node in nodes.living:
        for rule in rules:
            if rule.startswith("cache "):
                node.ask("ACL", "SETUSER", name, *rule.split()[1:])
    own = {"prefix": "shop", "USERNAME": name, "PASSWORD": "cache-password"}
    cache = clustered(nodes, **own)
    wait_until(lambda: cache.stats()["coherence"] == "tracking", PATIENT)
    cache.set_many(MANY)
    assert cache.get_many(MANY) == MANY
    final = cache.make_key("k1")
    target = next(node for node in nodes.primaries() if node is not nodes.owner(final))
    move = nodes.move(final, target, then=False)
    move.carry()  # who asks for it now is sent on by ASK
    assert cache.client.get("k1") == MANY["k1"]
    cache.set("k1", "mine")
    move.end()
    assert cache.get("k1") == "mine"


# pytest's own watchdog is a thread.
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_both_sides_of_a_fork_hear(cache: TieredCache, nodes: Cluster) -> None:
    writer = outside(nodes)
    keep(cache, nodes, MANY)

    def hear(value: str) -> None:
        cache.get("k1")
        assert cache.tier.wait_ready(PATIENT)
        for key in MANY:
            wait_until(lambda key=key: cache.get(key) is not None and is_kept(cache, key))
        writer.set_many(dict.fromkeys(MANY, value))
        for key in MANY:
            wait_until(lambda key=key: cache.get(key) == value)

    def child() -> None:
        assert not any(is_kept(cache, key) for key in MANY)
        hear("of the child")

    in_child(child)
    hear("of the parent")


class TestSlotsThatMove:
    @pytest.fixture
    def ends(self, nodes: Cluster) -> tuple[str, ClusterNode]:
        """Return a key, and another primary than its own."""
        owner = nodes.owner(final("moving"))
        return "moving", next(node for node in nodes.primaries() if node is not owner)

    def test_what_is_written_on_the_new_owner_is_told(
        self, cache: TieredCache, nodes: Cluster, ends: tuple[str, ClusterNode]
    ) -> None:
        key, target = ends
        keep(cache, nodes, {key: 1})
        nodes.move(final(key), target)
        wait_dropped(cache, key)
        assert cache.get(key) == 1
        outside(nodes).set(key, 2)
        wait_until(lambda: cache.get(key) == 2, PATIENT)

    def test_a_miss_that_was_remembered_ends_with_a_write_on_the_new_owner(
        self, cache: TieredCache, nodes: Cluster, ends: tuple[str, ClusterNode]
    ) -> None:
        key, target = ends
        assert cache.get(key) is None
        nodes.move(final(key), target)
        outside(nodes).set(key, 2)
        wait_until(lambda: cache.get(key) == 2, PATIENT)

    def test_it_may_be_read_and_written_while_it_moves(
        self, cache: TieredCache, nodes: Cluster, ends: tuple[str, ClusterNode]
    ) -> None:
        key, target = ends
        cache.set_many({key: 1, "new{moving}": None})
        move = nodes.move(final(key), target, then=False)
        other = outside(nodes)
        for value in (2, 3):
            other.set(key, value)  # before its keys are carried, and after
            wait_until(lambda value=value: cache.get(key) == value, PATIENT)
            move.carry()
        assert cache.get_many([key]) == {key: 3}
        cache.set(key, 4)
        assert other.get(key) == 4
        move.end()
        assert cache.get(key) == 4
        other.set(key, 5)
        wait_until(lambda: cache.get(key) == 5, PATIENT)


class TestNodesThatCome:
    def test_what_an_unknown_node_answers_is_not_kept_until_it_is_listened_to(
        self, cache: TieredCache, nodes: Cluster
    ) -> None:
        cache.set("k", 1)
        assert cache.get("k") == 1
        nodes.move(final("k"), nodes.add())
        assert cache.get("k") == 1
        assert not is_kept(cache, "k")
        wait_covered(cache, nodes)
        hears(cache, nodes)
        keep(cache, nodes, {"k": 1})
        outside(nodes).set("k", 2)
        wait_dropped(cache, "k")

    def test_a_key_on_its_way_to_an_unknown_node_can_be_read(
        self, cache: TieredCache, nodes: Cluster
    ) -> None:
        key = key_on(nodes, nodes.primaries()[0], "asked")
        cache.set(key, 1)
        node = nodes.add()
        move = nodes.move(final(key), node, then=False)
        move.carry()
        wait_dropped(cache, key)
        assert cache.get(key) == 1
        assert cache.get_many([key]) == {key: 1}
        assert outside(nodes).get(key) == 1
        assert not is_kept(cache, key)
        move.end()


class TestFailovers:
    @pytest.fixture
    def nodes(self) -> Iterator[Cluster]:
        """Run a cluster for the test alone: who takes over by force is not known to all at once."""
        with cluster() as made:
            yield made

    @pytest.mark.parametrize("how", [(), ("FORCE",), ("TAKEOVER",)], ids=str)
    def test_a_primary_that_steps_down_is_not_listened_to_any_more(
        self, nodes: Cluster, how: tuple[str, ...]
    ) -> None:
        cache = clustered(nodes, l1=QUICK)
        old = nodes.owner(final("k"))
        new = nodes.add(replica_of=old)
        elsewhere = key_on(nodes, next(n for n in nodes.primaries() if n is not old))
        keep(cache, nodes, {"k": 1})
        failover(new, *how)
        nodes.wait_ok()

        def is_noticed() -> bool:
            cache.get(elsewhere)  # whoever does not read at all is told later
            return bool(own_channels(new)) and not own_channels(old)

        wait_until(is_noticed, PATIENT, step=0.05)
        assert cache.tier.wait_ready(PATIENT)
        outside(nodes).set("k", 2)
        wait_until(lambda: cache.get("k") == 2, PATIENT)

    def test_a_primary_that_dies_ends_trust_until_another_has_taken_over(
        self, nodes: Cluster
    ) -> None:
        cache = clustered(nodes, l1=QUICK)
        old = nodes.owner(final("k"))
        nodes.add(replica_of=old)  # it may not be the only one
        other = key_on(nodes, next(n for n in nodes.primaries() if n is not old))
        keep(cache, nodes, {"k": 1, other: 1})
        old.kill()
        wait_until(lambda: not cache.tier.ready, PATIENT)
        assert not is_kept(cache, "k")
        assert not is_kept(cache, other)
        wait_until(lambda: nodes.owner(final("k")) is not old, PATIENT)
        nodes.wait_ok()
        wait_covered(cache, nodes)
        writer = outside(nodes)
        wait_until(lambda: writer.set("k", 2), PATIENT)
        wait_until(lambda: cache.get("k") == 2, PATIENT)
        hears(cache, nodes)
