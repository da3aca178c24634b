"""What keeps a tier coherent is looked at, without a command, and without starting it."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from django.core.cache import caches

from redis_optimizer.embedded import EmbeddedServer
from redis_optimizer.health.base import Degraded
from redis_optimizer.health.checks import CacheTier
from redis_optimizer.testing import assert_max_commands
from tests.cache.caches import QUIET, channels
from tests.health.checks.caches import PLAIN, TIERED, alias
from tests.servers import wait_until


@pytest.fixture
def other() -> Iterator[EmbeddedServer]:
    """Run a server of the test's own, which may be stopped."""
    with EmbeddedServer() as running:
        yield running


@pytest.fixture
def use(settings: Any) -> Callable[..., Any]:
    """Return a function that sets CACHES and returns the default one."""

    def use(url: str, **l1: Any) -> Any:
        settings.CACHES = {"default": alias(url, backend=TIERED, L1={**QUIET, **l1})}
        return caches["default"]

    return use


def degraded(check: CacheTier) -> str:
    """Return why a check degrades the site; empty while it does not."""
    try:
        check.run()
    except Degraded as reason:
        return str(reason)
    return ""


def test_each_tier_is_checked(settings: Any) -> None:
    url = "redis://127.0.0.1:1/0"
    herd = "django_redis.client.HerdClient"
    settings.CACHES = {
        "one": alias(url, backend=TIERED),
        "default": alias(url, backend=TIERED),
        "off": alias(url, backend=TIERED, L1={"ENABLED": False}),
        "none": alias(url, backend=TIERED, CLIENT_CLASS=herd),
        "plain": alias(url, backend=PLAIN),
    }
    assert [check.name for check in CacheTier.instances()] == ["cache-tier", "cache-tier-one"]
    (check,) = CacheTier.instances(alias="one")
    assert (check.name, check.critical, check.ready) == ("cache-tier-one", False, False)
    settings.REDIS_OPTIMIZER = {"ENABLED": False}
    assert CacheTier.instances() == []


def test_a_process_that_has_not_read_is_not_made_to(
    use: Callable[..., Any], server: EmbeddedServer, admin: redis.Redis
) -> None:
    use(server.url)
    with assert_max_commands(0):
        observed = CacheTier().run()
    assert observed is not None
    assert observed["state"] == "not started"
    assert not channels(admin)


def test_a_tier_that_hears_of_writes_is_right(
    use: Callable[..., Any], server: EmbeddedServer
) -> None:
    cache = use(server.url)
    assert cache.tier.wait_ready(10)
    cache.set("k", "v")
    for _ in range(2):
        cache.get("k")
    with assert_max_commands(0):
        observed: Any = CacheTier().run()
    assert set(observed) == {"staleness_bound", "entries", "bytes", "hit_ratio"}
    assert observed["staleness_bound"] == (QUIET["MAX_STALENESS"], "s")
    assert observed["entries"].value == cache.stats()["total_entries"]


def test_a_tier_that_asks_nobody_is_right_and_says_its_bound(
    use: Callable[..., Any], server: EmbeddedServer
) -> None:
    cache = use(server.url, COHERENCE="ttl", MAX_AGE=30)
    assert cache.tier.wait_ready(10)
    observed: Any = CacheTier().run()
    assert observed["staleness_bound"] == (30, "s")


def test_a_tier_that_has_lost_its_server_degrades_the_site(
    use: Callable[..., Any], other: EmbeddedServer
) -> None:
    cache = use(other.url)
    assert cache.tier.wait_ready(10)
    other.stop()
    assert "not heard of" in wait_until(lambda: degraded(CacheTier()))
    other.start()
    wait_until(lambda: not degraded(CacheTier()))


def test_a_tier_that_is_on_its_way_up_has_not_failed(
    use: Callable[..., Any], server: EmbeddedServer
) -> None:
    cache = use(server.url)
    cache.tier.start()
    observed: Any = CacheTier().run()
    assert observed["staleness_bound"].value > 0


def test_a_server_that_refuses_degrades_the_site(
    use: Callable[..., Any], other: EmbeddedServer
) -> None:
    with redis.Redis(port=other.port) as admin:
        admin.acl_setuser(
            "default", True, nopass=True, keys=["*"], channels=["*"], commands=["+@all"]
        )
        admin.execute_command("ACL", "SETUSER", "default", "-client|tracking")
    cache = use(other.url)
    assert cache.tier.wait_ready(10)
    assert "does not tell of writes" in degraded(CacheTier())
