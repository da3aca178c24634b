"""Every test begins and ends without a tier."""

import threading
from collections.abc import Iterator

import pytest
from django.conf import settings
from django.test import override_settings

from redis_optimizer.cache import TieredCache
from redis_optimizer.channel import CLIENT_NAME
from redis_optimizer.embedded import EmbeddedServer
from tests.servers import wait_until

from .caches import tiered


@pytest.fixture(autouse=True)
def _no_tiers() -> Iterator[None]:
    with override_settings(CACHES=settings.CACHES):
        yield
    wait_until(lambda: CLIENT_NAME not in {thread.name for thread in threading.enumerate()})


@pytest.fixture
def url(server: EmbeddedServer) -> str:
    """Return the URL of the test's server."""
    return server.url


@pytest.fixture
def cache(url: str) -> TieredCache:
    """Return a cache that keeps what it reads."""
    return tiered(url)
