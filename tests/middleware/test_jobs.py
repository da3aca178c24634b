"""What a request sends to the broker leaves together, before its response does."""

import asyncio
from typing import Any

import pytest
import redis
from django.http import HttpResponse
from django.test import RequestFactory, override_settings

from redis_optimizer.middleware import RedisOptimizerMiddleware
from tests.tasks.queues import ids


def test_calls_leave_together(task: Any, admin: redis.Redis, rf: RequestFactory) -> None:
    def view(request: Any) -> HttpResponse:
        task.delay()
        task.delay()
        assert ids(admin) == []
        return HttpResponse("done")

    response: Any = RedisOptimizerMiddleware(view)(rf.get("/"))
    assert response.content == b"done"
    assert len(ids(admin)) == 2


async def test_an_async_view_may_call_too(
    task: Any, admin: redis.Redis, rf: RequestFactory
) -> None:
    async def view(request: Any) -> HttpResponse:
        task.delay()
        await asyncio.sleep(0)
        task.delay()
        assert ids(admin) == []
        return HttpResponse("done")

    response: Any = await RedisOptimizerMiddleware(view)(rf.get("/"))  # type: ignore[misc]
    assert response.content == b"done"
    assert len(ids(admin)) == 2


def test_a_view_that_fails_loses_no_call(task: Any, admin: redis.Redis, rf: RequestFactory) -> None:
    def view(request: Any) -> HttpResponse:
        task.delay()
        raise LookupError

    with pytest.raises(LookupError):
        RedisOptimizerMiddleware(view)(rf.get("/"))
    assert len(ids(admin)) == 1


@pytest.mark.parametrize("settings", [{"BATCH_REQUESTS": False}, {"ENABLED": False}])
def test_it_can_be_switched_off(
    task: Any, admin: redis.Redis, rf: RequestFactory, settings: dict[str, bool]
) -> None:
    def view(request: Any) -> HttpResponse:
        task.delay()
        assert len(ids(admin)) == 1
        return HttpResponse()

    with override_settings(REDIS_OPTIMIZER=settings):
        RedisOptimizerMiddleware(view)(rf.get("/"))
