"""What deduplication costs, by what clients sent to the server."""

from collections.abc import Iterator
from typing import Any

import pytest
import redis
from celery import Celery
from django.conf import settings

from redis_optimizer.tasks import OptimizedTask, batching
from redis_optimizer.tasks.dedup import MODES
from tests.tasks.results import counted

SIMPLE = ["until_executing", "until_executed", "throttle"]


@pytest.fixture
def app() -> Iterator[Celery]:
    app = Celery("dedup", broker=settings.REDIS_TEST_URL, set_as_current=False)
    app.conf.task_ignore_result = True
    yield app
    batching.outbox().close(0)
    batching._forget()
    app.close()


def declare(app: Celery, mode: str, **options: Any) -> Any:
    """Return a task whose process is connected and knows the server's scripts."""

    @app.task(base=OptimizedTask, shared=False, dedup=mode, dedup_ttl=60, **options)
    def sync(user: int) -> None: ...

    sync.delay(0)
    sync.delay(0)
    batching.flush_all()
    return sync


@pytest.mark.parametrize("mode", MODES)
def test_a_first_call_is_one_command_beside_the_message(
    app: Celery, admin: redis.Redis, mode: str
) -> None:
    sync = declare(app, mode)
    with counted(admin) as sent:
        sync.delay(1)
    assert sent == ["SET" if mode in SIMPLE else "EVALSHA", "LPUSH"]


@pytest.mark.parametrize("mode", MODES)
def test_a_duplicate_is_one_command(app: Celery, admin: redis.Redis, mode: str) -> None:
    sync = declare(app, mode)
    with counted(admin) as sent:
        for _ in range(50):
            sync.delay(0)
    assert sent == ["SET" if mode in SIMPLE else "EVALSHA"] * 50


@pytest.mark.parametrize("mode", SIMPLE)
def test_a_duplicate_of_a_job_in_the_buffer_is_none(
    app: Celery, admin: redis.Redis, mode: str
) -> None:
    sync = declare(app, mode, batch_size=100, batch_timeout=3600)
    with counted(admin) as sent:
        for _ in range(50):
            sync.delay(1)
    assert sent == ["SET"]


def test_a_task_without_it_pays_nothing(app: Celery, admin: redis.Redis) -> None:
    @app.task(base=OptimizedTask, shared=False)
    def plain(user: int) -> None: ...

    plain.delay(0)
    with counted(admin) as sent:
        plain.delay(1)
    assert sent == ["LPUSH"]
