"""A process tells how many commands it sent and avoided, and how many connections it has open."""

import json
from pathlib import Path
from typing import Any

import redis
from celery import Celery
from django.test import override_settings

from redis_optimizer.cache import TieredCache
from redis_optimizer.connections import PURPOSES
from redis_optimizer.embedded import EmbeddedServer
from redis_optimizer.management.benchmark.wire import Wire
from redis_optimizer.stats import commands
from redis_optimizer.stats.registry import registry
from redis_optimizer.tasks.kombu.producers import broker_client, count_broker
from tests.cache.caches import QUIET, counted, keep, settings, tiered
from tests.cache.conftest import _no_tiers, cache, url
from tests.tasks.processes import Site

__all__ = ["_no_tiers", "cache", "url"]


def refusals(client: redis.Redis) -> int:
    """Return how often the server did not know a command: it counts such only here."""
    errors: dict[str, dict[str, int]] = client.info("errorstats")  # type: ignore[assignment]
    return errors.get("errorstat_ERR", {"count": 0})["count"]


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
    # kombu keeps connections by URL: no other test has one for this.
    broker = server.url.removesuffix("0") + "6"
    app = Celery("counted", broker=broker, set_as_current=False)
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


def test_all_that_a_site_sends_is_counted_as_the_server_counts_it(tmp_path: Path) -> None:
    with EmbeddedServer() as server, Wire(server.url) as wire:
        cache = settings("t", {"LOCATION": server.url}, {"L1": QUIET})
        site = Site(
            tmp_path,
            server.port,
            tasks=["tests.tasks.site.budget"],
            settings={
                "PROFILE": "metered",
                "REDIS_OPTIMIZER": {"ENVELOPES": True},
                "CACHES": {"default": {"BACKEND": "redis_optimizer.cache.TieredCache", **cache}},
            },
        )
        refused = refusals(wire._client)
        sent = json.loads(site.run("-m", "tests.stats.mixed").stdout)
        refused = refusals(wire._client) - refused
        seen = wire.counts()
    assert sum(sent.values()) == seen.commands.total() + seen.connecting.total() + refused
    assert all(sent[purpose] for purpose in PURPOSES)


@override_settings(REDIS_OPTIMIZER={"ENABLED": False})
def test_a_cache_works_where_nothing_is_counted(url: str) -> None:
    cache = tiered(url.removesuffix("0") + "5", ready=False)  # no other test has a pool for it
    before = told()["sent"]
    cache.set("a", 1)
    assert cache.get("a") == 1
    assert told()["sent"] == before
