"""Every test begins and ends without a tier."""

import threading
from collections.abc import Iterator

import pytest
from django.conf import settings
from django.test import override_settings

from redis_optimizer.cache import TieredCache
from redis_optimizer.channel import CLIENT_NAME
from redis_optimizer.embedded import EmbeddedServer
from tests.cluster import Cluster, cluster
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


@pytest.fixture(scope="session")
def _nodes() -> Iterator[Cluster]:
    with cluster() as made:
        yield made


@pytest.fixture
def nodes(_nodes: Cluster) -> Cluster:
    """Return a cluster that works, and is empty."""
    _nodes.wait_ok()
    _nodes.flush()
    return _nodes
