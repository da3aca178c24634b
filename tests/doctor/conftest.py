"""What the doctor's tests share."""

from collections.abc import Iterator

import pytest
import redis
from celery import Celery
from celery.app import app_or_default

from redis_optimizer.embedded import EmbeddedServer
from tests.servers import connect


@pytest.fixture(autouse=True)
def _own_app() -> Iterator[None]:
    """Let an app be current that has nothing on Redis, and not that of another test."""
    before = app_or_default()
    Celery("nothing", broker="memory://", set_as_current=True)
    yield
    before.set_current()


@pytest.fixture(scope="module")
def own() -> Iterator[EmbeddedServer]:
    """Run a server whose settings the tests of a module change."""
    with EmbeddedServer() as running:
        yield running


@pytest.fixture
def client(own: EmbeddedServer) -> Iterator[redis.Redis]:
    """Yield a client of that server, which is as it came afterwards."""
    names = ("maxmemory", "maxmemory-policy", "maxclients")
    with connect(own) as client:
        came = {name: client.config_get(name)[name] for name in names}
        yield client
        for name, value in came.items():
            client.config_set(name, value)
        client.flushall()
        client.config_resetstat()
