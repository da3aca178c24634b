"""ClusterClient: what django-redis's DefaultClient does, over all nodes of a cluster."""

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from django.core.cache import caches
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings
from django_redis import get_redis_connection
from django_redis.cache import RedisCache

from redis_optimizer.cache.cluster import SeveralSlots
from redis_optimizer.connections import cache_options
from redis_optimizer.embedded import HOST, free_port
from tests.cluster import Cluster

from .caches import command_calls, is_kept, plain, tiered
from .clusters import CLIENT, clustered, key_on, outside, settle

MANY = {f"k{n}": n for n in range(40)}


@pytest.fixture(params=["tiered", "plain"])
def cache(request: pytest.FixtureRequest, nodes: Cluster) -> RedisCache[Any]:
    """Return a cache with a tier, and the same without."""
    return clustered(nodes) if request.param == "tiered" else outside(nodes)


class TestOneKey:
    def test_values(self, cache: RedisCache[Any]) -> None:
        assert cache.get("k", "none") == "none"
        assert cache.set("k", {"a": [1]})
        assert cache.get("k") == {"a": [1]}
        assert cache.has_key("k")
        assert cache.delete("k")
        assert cache.get("k") is None
        assert not cache.has_key("k")

    def test_flags(self, cache: RedisCache[Any]) -> None:
        assert not cache.set("k", 1, xx=True)
        assert cache.set("k", 1, nx=True)
        assert not cache.set("k", 2, nx=True)
        assert not cache.add("k", 2)
        assert cache.get("k") == 1
        assert cache.set("k", 3, timeout=0)
        assert cache.get("k") is None

    def test_numbers(self, cache: RedisCache[Any]) -> None:
        cache.set("k", 1)
        assert cache.incr("k", 4) == 5
        assert cache.decr("k") == 4
        with pytest.raises(ValueError, match="not found"):
            cache.incr("absent")
        assert cache.incr("new", ignore_key_check=True) == 1
        cache.set("large", 2**70)
        assert cache.incr("large") == 2**70 + 1

    def test_lifetimes(self, cache: RedisCache[Any]) -> None:
        cache.set("k", 1, timeout=None)
        assert cache.ttl("k") is None
        assert cache.expire("k", 100)
        assert 0 < cache.ttl("k") <= 100
        assert cache.touch("k", 50)
        assert 0 < cache.pttl("k") <= 50_000
        assert cache.persist("k")
        assert cache.pttl("k") is None
        assert cache.ttl("absent") == 0

    def test_get_or_set(self, cache: RedisCache[Any]) -> None:
        assert cache.get_or_set("k", lambda: "made") == "made"
        assert cache.get_or_set("k", lambda: "again") == "made"

    def test_a_version(self, cache: RedisCache[Any]) -> None:
        cache.set("k", "v", timeout=100)
        assert cache.incr_version("k") == 2
        assert cache.get("k") is None
        assert cache.get("k", version=2) == "v"
        assert 0 < cache.ttl("k", version=2) <= 100
        assert cache.decr_version("k", version=2) == 1
        assert cache.get("k") == "v"

    def test_collections(self, cache: RedisCache[Any]) -> None:
        assert cache.hset("h", "field", "v") == 1
        assert cache.hkeys("h") == ["field"]
        assert cache.sadd("s", 1, 2) == 2
        assert cache.smembers("s") == {1, 2}
        assert set(cache.sscan_iter("s")) == {1, 2}
        assert cache.zadd("z", {"a": 1, "b": 2}) == 2
        assert cache.zrange("z", 0, -1) == ["a", "b"]

    def test_a_lock(self, cache: RedisCache[Any]) -> None:
        with cache.lock("lock", timeout=20):
            assert not cache.lock("lock", timeout=20).acquire(blocking=False)
        assert cache.lock("lock", timeout=20).acquire(blocking=False)


class TestManyKeys:
    def test_they_are_spread_over_the_nodes(self, cache: RedisCache[Any], nodes: Cluster) -> None:
        assert not cache.set_many(MANY)
        assert all(node.client.dbsize() for node in nodes.primaries()[:3])
        assert cache.get_many([*MANY, "absent"]) == MANY
        assert cache.delete_many([*MANY, "absent"]) == len(MANY)
        assert cache.get_many(MANY) == {}

    def test_a_timeout_holds_for_all(self, cache: RedisCache[Any]) -> None:
        cache.set_many(MANY, timeout=100)
        assert all(0 < cache.ttl(key) <= 100 for key in MANY)
        cache.set_many(MANY, timeout=0)
        assert cache.get_many(MANY) == {}

    def test_patterns_find_those_of_all_nodes(self, cache: RedisCache[Any]) -> None:
        cache.set_many({**MANY, "other": 1})
        assert set(cache.keys("k*")) == MANY.keys()
        assert set(cache.iter_keys("k*", itersize=5)) == MANY.keys()
        assert cache.delete_pattern("k*") == len(MANY)
        assert cache.keys("*") == ["other"]

    def test_clear_empties_every_node(self, cache: RedisCache[Any], nodes: Cluster) -> None:
        cache.set_many(MANY)
        assert cache.get_many(MANY) == MANY
        cache.clear()
        assert cache.get_many(MANY) == {}
        assert [node.client.dbsize() for node in nodes.living] == [0] * len(nodes.living)

    def test_sets_in_one_slot_are_computed_with(self, cache: RedisCache[Any]) -> None:
        cache.sadd("{s}:1", 1, 2)
        cache.sadd("{s}:2", 2, 3)
        assert cache.sunion("{s}:1", "{s}:2") == {1, 2, 3}
        assert cache.sinter("{s}:1", "{s}:2") == {2}
        assert cache.sdiffstore("{s}:3", "{s}:1", "{s}:2") == 1
        assert cache.smove("{s}:1", "{s}:2", 1)
        assert cache.smembers("{s}:2") == {1, 2, 3}

    def test_sets_in_several_slots_are_refused_by_name(self, cache: RedisCache[Any]) -> None:
        cache.sadd("s1", 1)
        for command in (cache.sunion, cache.sinter, cache.sdiff):
            with pytest.raises(SeveralSlots, match="hash tag"):
                command("s1", "s2")
        for command in (cache.sunionstore, cache.sinterstore, cache.sdiffstore):
            with pytest.raises(SeveralSlots, match="hash tag"):
                command("dest", "s1", "s2")
        with pytest.raises(SeveralSlots, match="hash tag"):
            cache.smove("s1", "s2", 1)
        assert cache.smembers("s1") == {1}


def test_what_many_keys_bring_is_kept(nodes: Cluster) -> None:
    cache = clustered(nodes)
    outside(nodes).set_many(MANY)
    settle(cache, nodes)
    assert cache.get_many(MANY) == MANY
    assert all(is_kept(cache, key) for key in MANY)


def test_a_value_is_read_again_with_its_ttl(nodes: Cluster) -> None:
    cache = clustered(nodes)
    cache.set("k", 1, timeout=200)
    cache.tier.store.drop(list(cache.tier.store.entries))
    for value in (1, 2):
        cache.set("k", value, timeout=200)
        assert cache.get("k") == value


@pytest.fixture
def user(nodes: Cluster) -> Iterator[dict[str, str]]:
    """Make a user with a password on every node; yield the options by which it comes in."""
    name = f"u{uuid.uuid4().hex}"
    for node in nodes.living:
        node.ask("ACL", "SETUSER", name, "on", ">secret", "~*", "&*", "+@all")
    yield {"USERNAME": name, "PASSWORD": "secret"}
    for node in nodes.living:
        node.ask("ACL", "DELUSER", name)


class TestFailures:
    def test_set_many_says_what_it_could_not_set(
        self, nodes: Cluster, user: dict[str, str]
    ) -> None:
        node = nodes.primaries()[0]
        mine = {key_on(nodes, node, stem): 1 for stem in ("a", "b")}
        others = {key_on(nodes, other): 2 for other in nodes.primaries()[1:]}
        node.ask("ACL", "SETUSER", user["USERNAME"], "-set")
        cache = outside(nodes, **user)
        with pytest.raises(redis.ResponseError, match=f"2 of {len(others) + 2} keys may not"):
            cache.set_many({**mine, **others})
        assert outside(nodes).get_many([*mine, *others]) == others

    def test_a_cluster_that_cannot_be_reached_is_an_error_of_connection(self) -> None:
        url = f"redis://{HOST}:{free_port()}"
        cache = plain(url, CLIENT_CLASS=CLIENT)
        for command in (cache.get, cache.delete, cache.has_key):
            with pytest.raises(redis.ConnectionError):
                command("k")

    def test_it_may_be_ignored(self) -> None:
        url = f"redis://{HOST}:{free_port()}"
        cache = tiered(url, ready=False, CLIENT_CLASS=CLIENT, IGNORE_EXCEPTIONS=True)
        assert cache.get("k", "default") == "default"
        assert cache.get_many(["k"]) == {}
        assert cache.set_many({"k": 1}) == ["k"]

    def test_a_server_that_is_no_cluster_is_named(self, url: str) -> None:
        with pytest.raises(redis.ConnectionError, match="Cluster mode is not enabled"):
            plain(url, CLIENT_CLASS=CLIENT).get("k")

    def test_a_wrong_password_is_an_error_of_authentication(
        self, nodes: Cluster, user: dict[str, str]
    ) -> None:
        with pytest.raises(redis.ConnectionError, match="invalid username-password"):
            outside(nodes, **{**user, "PASSWORD": "wrong"}).get("k")


class TestConnections:
    def test_all_caches_of_a_process_share_one_client(self, nodes: Cluster) -> None:
        settings = {
            "BACKEND": "redis_optimizer.cache.TieredCache",
            "LOCATION": nodes.urls,
            "OPTIONS": {"CLIENT_CLASS": CLIENT},
        }
        with override_settings(CACHES={"default": settings, "other": settings}):
            client = get_redis_connection("default")
            assert isinstance(client, redis.RedisCluster)
            assert get_redis_connection("other") is client
            assert client.set("raw", 1)
            caches["default"].close()
            assert get_redis_connection("default") is client

    def test_the_end_of_a_request_leaves_connections_open(self, nodes: Cluster) -> None:
        cache = outside(nodes)
        cache.set_many(MANY)
        before = [node.client.info("stats")["total_connections_received"] for node in nodes.living]
        for _ in range(3):
            cache.close()
            cache.get_many(MANY)
        after = [node.client.info("stats")["total_connections_received"] for node in nodes.living]
        # The second look is a connection by itself.
        assert [b - a for a, b in zip(before, after, strict=True)] == [1] * len(nodes.living)

    def test_the_options_of_the_profiles_hold_for_each_node(
        self, nodes: Cluster, user: dict[str, str]
    ) -> None:
        options = cache_options(nodes.urls[0], max_connections=2, timeout=3)
        cache: Any = clustered(nodes, **options, **user)
        cache.set_many(MANY)
        for pool in cache.client.cluster.pools():
            assert isinstance(pool, redis.BlockingConnectionPool)
            assert pool.max_connections == 2
            assert pool.connection_kwargs["socket_timeout"] == 3
            assert pool.connection_kwargs["username"] == user["USERNAME"]

    def test_a_request_ends_though_no_node_can_be_reached(self) -> None:
        cache = plain(f"redis://{HOST}:{free_port()}", CLIENT_CLASS=CLIENT, CLOSE_CONNECTION=True)
        with pytest.raises(redis.ConnectionError):
            cache.get("k")
        cache.close()

    def test_switched_off_it_is_django_redis_command_for_command(self, nodes: Cluster) -> None:
        def calls(cache: RedisCache[Any]) -> list[dict[str, int]]:
            cache.get("warm")
            for node in nodes.living:
                node.client.config_resetstat()
            cache.set_many(MANY)
            cache.get_many(MANY)
            cache.get("k1")
            cache.incr("k1")
            cache.delete_many(MANY)
            return [
                {n: c for n, c in command_calls(node.client).items() if _is_of_a_cache(n)}
                for node in nodes.living
            ]

        off = clustered(nodes, ready=False, l1={"ENABLED": False})
        assert calls(off) == calls(outside(nodes))


def test_values_may_be_signed(nodes: Cluster) -> None:
    cache, foreign = clustered(nodes, SIGNED=True), outside(nodes)
    foreign.set_many(MANY | {"text": "not signed"})
    assert cache.get_many([*MANY, "text"]) == MANY  # Redis counts with integers
    assert cache.get("text") is None
    assert cache.add("text", "ours")
    texts = {key: f"text {key}" for key in MANY}
    cache.set_many(texts)
    settle(cache, nodes)
    for _ in range(2):
        assert cache.get_many([*MANY, "text"]) == {**texts, "text": "ours"}
        assert all(is_kept(cache, key) for key in MANY)
    one, other = "k1", "k2"
    raw = nodes.raw()
    raw.set(cache.make_key(other), raw.get(cache.make_key(one)))  # signed, for another key
    settle(cache, nodes)
    assert cache.get_many([one, other]) == {one: texts[one]}


def _is_of_a_cache(command: str) -> bool:
    return command in ("get", "set", "mget", "del", "eval", "exists", "incrby", "pttl", "multi")


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"SENTINELS": [(HOST, 1)]}, "SENTINELS"),
        ({"CONNECTION_FACTORY": "django_redis.pool.ConnectionFactory"}, "CONNECTION_FACTORY"),
        ({"REDIS_CLIENT_CLASS": "redis.Redis"}, "REDIS_CLIENT_CLASS"),
        ({"REDIS_CLIENT_KWARGS": {"read_from_replicas": True}}, "read_from_replicas"),
        ({"l1": {"STALE_IF_ERROR": 10}}, "STALE_IF_ERROR"),
        ({"l1": {"SINGLE_FLIGHT": "fleet"}}, "SINGLE_FLIGHT"),
    ],
)
def test_an_option_that_a_cluster_cannot_have_is_named(options: dict[str, Any], named: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=named):
        tiered("redis://127.0.0.1:1", ready=False, CLIENT_CLASS=CLIENT, **options).get("k")


@pytest.mark.parametrize(
    ("location", "named"),
    [
        ("redis://127.0.0.1:1/2", "database 0"),
        ("unix:///tmp/socket", "Unix socket"),
        ("redis://127.0.0.1:1,rediss://127.0.0.1:2", "host and port alone"),
    ],
)
def test_a_location_that_names_no_cluster_is_refused(location: str, named: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=named):
        plain(location, CLIENT_CLASS=CLIENT).get("k")
