"""A site of each test's own, on the server of the test process."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from kombu import pools

from redis_optimizer.embedded import EmbeddedServer
from tests.tasks.processes import Site


@pytest.fixture
def make_site(tmp_path: Path, server: EmbeddedServer) -> Callable[..., Site]:
    """Return a maker of sites, which takes `tasks` and `settings`."""

    def make(**options: Any) -> Site:
        return Site(tmp_path, server.port, **options)

    return make


@pytest.fixture
def break_connections() -> Iterator[Callable[[redis.Redis], None]]:
    """Return what closes all connections to a server but that of the given client."""
    yield lambda client: client.client_kill_filter(skipme=True)
    pools.reset()  # kombu keeps connections for the process: another test would find them broken
