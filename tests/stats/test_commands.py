"""A process tells how many commands it sent and avoided, and how many connections it has open."""

from typing import Any

import redis
from celery import Celery
from django.test import override_settings

from redis_optimizer.cache import TieredCache
from redis_optimizer.embedded import EmbeddedServer
from redis_optimizer.stats import commands
from redis_optimizer.stats.registry import registry
from redis_optimizer.tasks.kombu import broker_client, count_broker
from tests.cache.caches import QUIET, counted, keep, tiered
from tests.cache.conftest import _no_tiers, cache, url

__all__ = ["_no_tiers", "cache", "url"]


def told() -> dict[str, Any]:
    return registry.totals()["commands"]


def test_reads_and_writes_of_a_cache_are_counted(cache: TieredCache, admin: redis.Redis) -> None:
    cache.get("a")
    before = told()
    with counted(admin) as calls:
        cache.set("a", 1)
        cache.get_many(["a", "b"])
        cache.delete("a")
    after = told()
    assert after["by"]["cache"] - before["by"]["cache"] == sum(calls.values())
    assert after["sent"] == sum(after["by"].values())


def test_a_hit_is_avoided_and_not_sent(cache: TieredCache) -> None:
    keep(cache, {"a": 1})
    before = told()
    assert cache.get("a") == 1
    after = told()
    assert after["sent"] == before["sent"]
    assert after["avoided"] == before["avoided"] + 1
    assert after["avoided_by"]["caches"] == before["avoided_by"]["caches"] + 1


def test_the_history_follows_both(cache: TieredCache) -> None:
    assert commands.series() == {name: told()[name] for name in ("sent", "avoided")}


def test_a_cache_without_a_tier_is_counted_too(url: str, admin: redis.Redis) -> None:
    cache = tiered(url, ready=False, l1=QUIET | {"ENABLED": False})
    cache.get("a")  # it is connected
    before = told()
    with counted(admin) as calls:
        cache.set("a", 1)
        assert cache.get("a") == 1
    assert told()["by"]["cache"] - before["by"]["cache"] == sum(calls.values())


def test_the_channel_and_the_pool_are_its_connections(cache: TieredCache) -> None:
    connections = registry.totals()["connections"]
    assert connections["by"]["channel"] >= 1
    assert connections["open"] == sum(connections["by"].values())
    before = connections["by"]["cache"]
    cache.set("a", 1)
    assert registry.totals()["connections"]["by"]["cache"] <= before + 1


def test_the_broker_is_counted(server: EmbeddedServer, admin: redis.Redis) -> None:
    count_broker()
    app = Celery("counted", broker=server.url, set_as_current=False)
    with broker_client(app) as client:
        assert client is not None
        client.ping()
    before = told()["by"]["broker"]
    with counted(admin) as calls, broker_client(app) as client:
        assert client is not None
        client.pipeline(transaction=False).get("a").get("b").execute()
    assert calls["get"] == 2
    assert told()["by"]["broker"] - before == sum(calls.values())
    assert registry.totals()["connections"]["by"]["broker"] >= 1
    app.close()


@override_settings(REDIS_OPTIMIZER={"ENABLED": False})
def test_a_cache_works_where_nothing_is_counted(url: str) -> None:
    cache = tiered(url.removesuffix("0") + "5", ready=False)  # no other test has a pool for it
    before = told()["sent"]
    cache.set("a", 1)
    assert cache.get("a") == 1
    assert told()["sent"] == before
