"""Caches in a cluster, as a site would configure them."""

import threading
import uuid
from collections.abc import Mapping
from typing import Any

from django_redis.cache import RedisCache
from redis.crc import key_slot

from redis_optimizer.cache import TieredCache
from tests.cluster import Cluster, ClusterNode
from tests.servers import wait_until

from .caches import PREFIX, is_kept, plain, tiered

CLIENT = "redis_optimizer.cache.cluster.ClusterClient"
PATIENT = 60.0  # seconds that a busy machine may take


def clustered(made: Cluster, **options: Any) -> TieredCache:
    """Return a cache with a tier, see `tests.cache.caches.tiered`."""
    return tiered(made.urls, CLIENT_CLASS=CLIENT, **options)  # type: ignore[arg-type]


def outside(made: Cluster, **options: Any) -> RedisCache[Any]:
    """Return a cache without a tier: what it writes, another has to be told of."""
    return plain(made.urls, CLIENT_CLASS=CLIENT, **options)  # type: ignore[arg-type]


def final(key: str) -> str:
    return f"{PREFIX}:1:{key}"


def key_on(made: Cluster, node: ClusterNode, stem: str = "k") -> str:
    """Return a key whose final key a node serves."""
    owned = made.slots_of(node)
    return next(
        key for n in range(1_000_000) if key_slot(final(key := f"{stem}{n}").encode()) in owned
    )


def keep(cache: TieredCache, made: Cluster, values: Mapping[str, Any]) -> None:
    """Write values, and read them so that the process knows them."""
    cache.set_many(dict(values))
    settle(cache, made)

    def is_kept_now(key: str) -> bool:
        cache.get(key)  # the first read may be the one that finds out that the nodes still live
        return is_kept(cache, key)

    for key in values:
        wait_until(lambda key=key: is_kept_now(key), PATIENT)


def settle(cache: TieredCache, made: Cluster) -> None:
    """Wait until the process has heard of every write so far, on any node."""
    for node in made.primaries():
        heard = threading.Event()
        key = final(key_on(made, node, f"settle:{uuid.uuid4().hex}:"))
        end = cache.tier.store.watch(key, heard.set)
        node.ask("SET", key, "", "PX", 1)
        assert heard.wait(PATIENT), "no invalidation came"
        end()


def own_channels(node: ClusterNode) -> list[str]:
    """Return the names of the channels that a node knows, of any process."""
    with node.client as client:
        names = [each["name"] for each in client.client_list()]
    return [name for name in names if name.startswith("redis_optimizer:channel:")]


def wait_covered(cache: TieredCache, made: Cluster) -> None:
    """Wait until the cache has a channel to every primary, and to no other node."""
    primaries = made.primaries()
    others = [node for node in made.living if node not in primaries]

    def is_covered() -> bool:
        return (
            cache.tier.ready
            and all(own_channels(node) for node in primaries)
            and not any(own_channels(node) for node in others)
        )

    wait_until(is_covered, PATIENT, step=0.05)
    assert cache.tier.wait_ready(PATIENT)
