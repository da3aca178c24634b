"""Results of ``rpc://``, which come in a queue that is declared as a job is called for."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from celery import Celery, group
from kombu.exceptions import OperationalError

from redis_optimizer.embedded import EmbeddedServer
from redis_optimizer.tasks import OptimizedTask, batch, batching
from redis_optimizer.tasks.block import Batch
from tests.tasks.processes import Site
from tests.tasks.queues import ids

LONG = 3600.0
BATCHED = {"base": OptimizedTask, "batch_size": 100, "batch_timeout": LONG}

CODE = """
from celery import group
from redis_optimizer.tasks import batch
from tests.tasks.site.rpc import alone, batched

with batch():
    results = [alone.delay(1), batched.delay(2), group(alone.s(3), batched.s(4)).delay()]
print([result.get(timeout=60) for result in results])
"""


@pytest.fixture
def app(server: EmbeddedServer) -> Iterator[Celery]:
    app = Celery("rpc", broker=server.url, backend="rpc://", set_as_current=False)
    yield app
    batching.outbox().close(0)
    batching._forget()
    app.close()


@pytest.fixture
def plain(app: Celery) -> Any:
    @app.task(shared=False)
    def plain(number: int = 0) -> None: ...

    return plain


@pytest.fixture
def batched(app: Celery) -> Any:
    @app.task(shared=False, **BATCHED)
    def batched(number: int = 0) -> None: ...

    return batched


@pytest.mark.parametrize("is_request", [False, True])
def test_a_block_sends_at_once(
    app: Celery, plain: Any, batched: Any, admin: redis.Redis, is_request: bool
) -> None:
    with Batch(app, is_request=is_request):
        results = [plain.delay(), batched.delay(), *group(plain.s(1), batched.s(2))().results]
        assert ids(admin) == [result.id for result in results]
    assert len(ids(admin)) == 4


def test_a_batched_task_sends_at_once(batched: Any, admin: redis.Redis) -> None:
    result = batched.delay()
    assert ids(admin) == [result.id]


def test_jobs_without_a_result_wait(
    app: Celery, plain: Any, batched: Any, admin: redis.Redis
) -> None:
    with batch(app=app):
        first = plain.apply_async(ignore_result=True)
        second = batched.apply_async(ignore_result=True)
        assert ids(admin) == []
    assert ids(admin) == [first.id, second.id]


def test_each_call_gives_its_connection_back(app: Celery, plain: Any, batched: Any) -> None:
    app.conf.broker_pool_limit = 1
    app.conf.broker_connection_retry = False
    with batch(app=app):
        for _ in range(3):
            plain.delay()
            batched.delay()
    assert batching.count() == 0


def test_a_broker_that_is_away_is_told_at_the_call() -> None:
    with EmbeddedServer() as broker:
        app = Celery("away", broker=broker.url, backend="rpc://", set_as_current=False)
        app.conf.update(broker_pool_limit=1, broker_connection_max_retries=0)
        app.conf.broker_transport_options = {"socket_connect_timeout": 1, "max_retries": 0}

        @app.task(shared=False, **BATCHED)
        def batched() -> None: ...

        broker.kill()
        for _ in range(2):  # the one connection of the pool is given back
            with pytest.raises(OperationalError):
                batched.delay()
        broker.restart()
        batched.delay()
        app.close()


def test_results_come(make_site: Callable[..., Site]) -> None:
    backend = {"CELERY_RESULT_BACKEND": "rpc://"}
    site = make_site(tasks=["tests.tasks.site.rpc"], settings=backend)
    with site.worker("-c", "1"):
        assert site.produce(CODE).stdout.split("\n")[-2] == "[1, 2, [3, 4]]"
