"""The checks of tasks that are sent in batches."""

from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery
from celery.app import app_or_default

from redis_optimizer.checks.tasks import check_tasks
from redis_optimizer.tasks import OptimizedTask


@pytest.fixture
def app() -> Iterator[Celery]:
    before = app_or_default()
    yield Celery("checked", broker="redis://h:1/0")
    before.set_current()


def found(app: Celery, **options: Any) -> list[str]:
    """Declare a task and return the id of each message about it."""

    @app.task(base=OptimizedTask, shared=False, name="checked", **options)
    def task() -> None: ...

    messages = [message for message in check_tasks() if message.obj == "checked"]
    assert all(message.hint for message in messages)
    return [str(message.id).removeprefix("redis_optimizer.") for message in messages]


def test_a_batched_task_that_is_acknowledged_late_is_right(app: Celery) -> None:
    assert found(app, batch_size=100, acks_late=True) == []


@pytest.mark.parametrize("options", [{}, {"batch_size": 100, "batch_timeout": 0}])
def test_a_task_that_is_not_batched_may_be_acknowledged_early(
    app: Celery, options: dict[str, Any]
) -> None:
    assert found(app, **options) == []


def test_w010_a_batched_task_that_is_acknowledged_early(app: Celery) -> None:
    assert found(app, batch_size=100) == ["W010"]


def test_w010_does_not_nag_who_says_that_it_is_meant(app: Celery) -> None:
    assert found(app, batch_size=100, idempotent=True) == []


@pytest.mark.parametrize(("limit", "ids"), [(18, []), (19, ["W011"])])
def test_w011_a_batch_that_may_outlast_half_of_the_visibility_timeout(
    app: Celery, limit: int, ids: list[str]
) -> None:
    assert found(app, batch_size=100, acks_late=True, time_limit=limit) == ids
