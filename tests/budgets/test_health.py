"""What one run of all checks costs, by the server's own count."""

from collections.abc import Iterator
from typing import Any

import pytest
import redis
from celery import Celery
from celery.app import app_or_default
from django.core.cache import caches

from redis_optimizer.embedded import HOST, EmbeddedServer
from redis_optimizer.health.registry import get_checks
from redis_optimizer.health.report import Status
from redis_optimizer.health.runner import run_checks
from redis_optimizer.tasks import heartbeat
from redis_optimizer.tasks.heartbeat import Heartbeat
from tests.cache.caches import QUIET, counted
from tests.health.checks.caches import TIERED, alias
from tests.tasks.consumer import Consumer

CONNECTS = {"hello", "client|setinfo", "select"}  # what redis-py's versions send


@pytest.fixture
def site(server: EmbeddedServer, settings: Any) -> Iterator[Any]:
    """Be a site with a cache that is in use, a broker, and a worker; return the cache."""
    settings.CACHES = {
        "default": alias(f"{server.url}?all", backend=TIERED, SOCKET_TIMEOUT=5, L1=QUIET)
    }
    settings.REDIS_OPTIMIZER = {"HEALTH_CHECK_TIMEOUT": 30}
    before = app_or_default()
    app = Celery("site", broker=f"redis://{HOST}:{server.port}/0")
    consumer = Consumer(app)
    Heartbeat(consumer).start(consumer)
    cache: Any = caches["default"]
    assert cache.tier.wait_ready(10)
    yield cache
    before.set_current()
    consumer.connection.release()
    app.close()


@pytest.mark.django_db(transaction=True)
def test_a_run_of_all_checks(site: Any, admin: redis.Redis) -> None:
    def run() -> set[str]:
        report = run_checks(get_checks(), 60, 30)
        wrong = [r for r in report.results if r.status is not Status.OK]
        # The machine of the test may be nearly full.
        assert {result.component for result in wrong} <= {"system"}, wrong
        return {result.name for result in report.results}

    names = run()
    assert names == {
        *("redis", "database", "migrations", "cache-tier", "broker", "workers", "disk", "memory")
    }
    with counted(admin) as calls:
        run()
    connects = sum(calls.pop(name, 0) for name in CONNECTS)
    # PING of the cache's server; two connections to the broker, which kombu tries as it makes
    # them; the depths of one queue and of its envelopes, at four priorities; the workers.
    assert calls == {"ping": 3, "llen": 8, "hlen": 1, "zcount": 1, "zrevrange": 1}
    assert connects <= 6


def test_a_worker_says_that_it_is_alive_less_than_once_a_minute() -> None:
    assert heartbeat.BEAT >= 60
