"""What a site sees of a cache in a cluster: statistics, orders, checks, the doctor, its tests."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.cache import caches
from django.test import override_settings

from redis_optimizer import switches
from redis_optimizer.checks import check_caches
from redis_optimizer.conf import get_settings
from redis_optimizer.doctor.places import find_places
from redis_optimizer.health.checks import CacheTier, Redis
from redis_optimizer.stats import gather, orders
from redis_optimizer.stats.desk import desk
from redis_optimizer.stats.process import facts
from redis_optimizer.stats.servers import all_pools, pools
from redis_optimizer.testing import assert_max_commands
from tests.cluster import Cluster
from tests.servers import wait_until

from .caches import PREFIX, QUIET, command_calls
from .clusters import CLIENT, PATIENT

TIERED = "redis_optimizer.cache.TieredCache"
MANY = {f"k{n}": n for n in range(20)}


def alias(location: Any, **options: Any) -> dict[str, Any]:
    return {
        "BACKEND": TIERED,
        "LOCATION": location,
        "KEY_PREFIX": PREFIX,
        "OPTIONS": {"CLIENT_CLASS": CLIENT, "L1": QUIET, **options},
    }


@pytest.fixture
def site(nodes: Cluster) -> Iterator[Any]:
    """Return the default cache of a site in a cluster, heard by all nodes."""
    with override_settings(CACHES={"default": alias(nodes.urls)}):
        cache: Any = caches["default"]
        assert cache.tier.wait_ready(PATIENT)
        yield cache


def test_a_process_answers_once(site: Any) -> None:
    site.set("k", 1)
    site.get("k")
    answered = desk.totals()["answered"]
    gathered = gather(timeout=PATIENT)
    assert desk.totals()["answered"] == answered + 1
    assert [process.facts["id"] for process in gathered.processes] == [facts()["id"]]
    assert (gathered.missing, gathered.silent, gathered.ignored) == (0, [], 0)
    assert gathered.processes[0].totals["messages"]["refused"] == 0
    assert gathered.processes[0].totals["caches"]["default"]["coherence"] == "tracking"
    assert gathered.processes[0].totals["caches"]["default"]["breaker"] == "off"


def test_a_part_that_is_switched_off_stays_so(site: Any, nodes: Cluster) -> None:
    orders.switch("cache", on=False, timeout=PATIENT)
    assert not switches.is_on("cache")
    states = orders.read_states()
    assert not states["cache"].on
    switches.reset()  # as a process that starts
    with override_settings(CACHES={"default": alias(nodes.urls)}):
        caches["default"].tier.start()  # type: ignore[attr-defined]
        wait_until(lambda: not switches.is_on("cache"), PATIENT)
    orders.switch("cache", on=True, timeout=PATIENT)


def test_each_primary_is_among_the_servers_but_one_alone_is_asked(
    site: Any, nodes: Cluster
) -> None:
    ports = [pool.connection_kwargs["port"] for pool in all_pools()]
    assert sorted(ports) == sorted(node.port for node in nodes.primaries())
    assert len(pools()) == 1


def test_the_doctor_says_that_it_does_not_look_at_the_nodes(site: Any) -> None:
    unknown: list[str] = []
    assert [place for place in find_places(unknown) if place.use.kind == "cache"] == []
    assert any("the nodes of a cluster are not looked at" in reason for reason in unknown)


def test_the_health_checks_pass(site: Any) -> None:
    Redis().run()
    CacheTier().run()


def test_each_primary_is_asked_whether_it_lives(site: Any, nodes: Cluster) -> None:
    for node in nodes.primaries():
        node.ask("CONFIG RESETSTAT")
    Redis().run()
    assert [command_calls(node.client)["ping"] for node in nodes.primaries()] == [1] * len(
        nodes.primaries()
    )


def test_a_health_check_may_write(site: Any, nodes: Cluster) -> None:
    for node in nodes.primaries():
        node.ask("CONFIG RESETSTAT")
    Redis(write=True).run()
    calls = [command_calls(node.client) for node in nodes.primaries()]
    assert [sum(call.get(name, 0) for call in calls) for name in ("set", "get", "del")] == [1] * 3


def test_a_budget_counts_what_any_node_is_sent(site: Any) -> None:
    site.set_many(MANY)
    with pytest.raises(AssertionError, match=f"{len(MANY)} commands"):
        assert_max_commands(0)(lambda: site.delete_many(MANY) and None)()
    with assert_max_commands(len(MANY)) as sent:
        site.get_many(MANY)
    assert 0 < len(sent) <= len(MANY)


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Return a function from the options of an alias to the ids of what is wrong."""

    def find(options: dict[str, Any], **settings: Any) -> list[str]:
        one = alias("redis://127.0.0.1:1", **options)
        with override_settings(CACHES={"default": one}, REDIS_OPTIMIZER=settings):
            get_settings.cache_clear()
            return [str(message.id) for message in check_caches()]

    return find


def test_the_system_checks_know_of_it(found: Callable[..., list[str]]) -> None:
    assert found({}) == []
    assert found({"L1": {"STALE_IF_ERROR": 5}}) == ["redis_optimizer.E002"]
    assert found({"L1": {"SINGLE_FLIGHT": "fleet"}}) == ["redis_optimizer.E002"]
    assert found({"SENTINELS": [("127.0.0.1", 1)]}) == ["redis_optimizer.E002"]
    assert found({}, BREAKER_AFTER=3) == ["redis_optimizer.W007"]
