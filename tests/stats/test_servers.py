"""Through which caches processes hear each other, and channels that open before any read."""

from typing import Any

import pytest
import redis
from django.core.cache import caches
from django.test import override_settings

from redis_optimizer.cache import registry
from redis_optimizer.embedded import EmbeddedServer
from redis_optimizer.stats.servers import open_channels, pools
from tests.cache.caches import channels
from tests.cache.conftest import _no_tiers, url
from tests.servers import wait_until

__all__ = ["_no_tiers", "url"]


def tiered(location: str, prefix: str = "t", **l1: Any) -> dict[str, Any]:
    return {
        "BACKEND": "redis_optimizer.cache.TieredCache",
        "LOCATION": location,
        "KEY_PREFIX": prefix,
        "OPTIONS": {"L1": l1},
    }


def test_a_channel_opens_without_a_read(url: str, admin: redis.Redis) -> None:
    with override_settings(CACHES={"default": tiered(url), "other": tiered(url, "u")}):
        open_channels()
        assert caches["default"].tier.wait_ready(10)
        wait_until(lambda: caches["other"].tier.ready)
        assert len(channels(admin)) == 1
        before = registry.channels()[0].connects
        open_channels()
        assert registry.channels()[0].connects == before


def test_there_is_a_pool_for_each_server(url: str) -> None:
    with EmbeddedServer() as own:
        aliases = {"default": tiered(url), "same": tiered(url, "u"), "other": tiered(own.url)}
        with override_settings(CACHES=aliases):
            ports = {pool.connection_kwargs["port"] for pool in pools()}
            assert len(pools()) == len(ports) == 2


class Backend:
    """One that must not be made."""

    def __init__(self, *arguments: Any) -> None:
        raise AssertionError


@pytest.mark.parametrize(
    "settings",
    [
        {"BACKEND": f"{__name__}.Backend"},
        {"BACKEND": "nowhere.Cache"},
        tiered("redis://h", COHERENCE="ttl"),
        tiered("redis://h", ENABLED=False),
        tiered("redis://h", NONSENSE=1),
    ],
    ids=["another's", "missing", "ttl", "off", "wrong"],
)
def test_other_caches_are_left_alone(settings: dict[str, Any], admin: redis.Redis) -> None:
    with override_settings(CACHES={"default": settings}):
        open_channels()
        assert (pools(), channels(admin), registry.channels()) == ([], [], [])


def test_what_is_switched_off_opens_nothing(url: str, admin: redis.Redis) -> None:
    with override_settings(CACHES={"default": tiered(url)}, REDIS_OPTIMIZER={"ENABLED": False}):
        open_channels()
        assert (pools(), channels(admin)) == ([], [])
