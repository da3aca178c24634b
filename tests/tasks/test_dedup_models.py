"""Models of Pydantic as arguments of calls that are one job."""

from collections.abc import Callable
from typing import Any

import celery
import pytest
import redis
from celery import Celery
from pydantic import BaseModel

from redis_optimizer.tasks import OptimizedTask, batching
from redis_optimizer.tasks.dedup import MODES
from tests.servers import wait_until
from tests.tasks.processes import Site
from tests.tasks.queues import arguments, ids, messages
from tests.tasks.site import runs
from tests.tasks.test_dedup import app

__all__ = ["app"]

dumps_models = pytest.mark.skipif(celery.VERSION < (5, 7), reason="Celery 5.6 dumps no models")

CODE = """
from tests.tasks.site.models import Order, debounced, once

print(once.delay(Order(number=1, note="a")).id)
print({debounced.delay(order=Order(number=2, note=note)).id for note in "bc"}.pop())
"""


class Order(BaseModel):
    number: int


class Line(BaseModel):
    number: int


def declare(app: Celery, mode: str = "until_executed", **options: Any) -> Any:
    """Return a task that takes a model and is deduplicated."""
    given = {"dedup": mode, "dedup_ttl": 100, "pydantic": True} | options

    @app.task(base=OptimizedTask, shared=False, **given)
    def sync(order: Order, deep: bool = False) -> None: ...

    return sync


@dumps_models
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("size", [1, 10])
def test_equal_models_are_one_job(app: Celery, admin: redis.Redis, mode: str, size: int) -> None:
    sync = declare(app, mode, batch_size=size, batch_timeout=3600.0)
    first = sync.delay(Order(number=1))
    equals = [sync.delay(Order(number=1)), sync.delay(order=Order(number=1))]
    equals.append(sync.delay({"number": 1}))  # what such a task was called with before Celery 5.7
    other = sync.delay(Order(number=2))
    batching.flush_all()
    assert {equal.id for equal in equals} == {first.id}
    assert ids(admin) == [first.id, other.id]
    assert [arguments(each)[0] for each in messages(admin)] == [[{"number": 1}], [{"number": 2}]]


@dumps_models
def test_a_bound_task_takes_them(app: Celery, admin: redis.Redis) -> None:
    @app.task(base=OptimizedTask, shared=False, bind=True, pydantic=True, dedup="until_executed")
    def sync(self: Any, deep: bool, order: Order) -> None: ...

    assert sync.delay(True, Order(number=1)).id == sync.delay(True, Order(number=1)).id
    assert arguments(*messages(admin)) == ([True, {"number": 1}], {})


@dumps_models
def test_a_name_in_dedup_on_is_that_of_a_model(app: Celery, admin: redis.Redis) -> None:
    sync = declare(app, dedup_on=["order"])
    assert sync.delay(Order(number=1)).id == sync.delay(Order(number=1), deep=True).id


@pytest.mark.parametrize(
    "serializer",
    [pytest.param("json", marks=dumps_models), pytest.param(None, marks=dumps_models), "pickle"],
)
def test_a_function_in_dedup_on_takes_what_the_caller_gives(
    app: Celery, admin: redis.Redis, serializer: str | None
) -> None:
    options = {"serializer": serializer} if serializer else {}
    sync = declare(app, dedup_on=lambda order, deep=False: order.number, **options)
    assert sync.delay(Order(number=1)).id == sync.delay(Order(number=1), deep=True).id
    assert len(ids(admin)) == 1


def test_what_is_pickled_is_no_model_that_can_be_compared(app: Celery) -> None:
    with pytest.raises(TypeError, match="'order' has no form that is the same"):
        declare(app, serializer="pickle").delay(Order(number=1))
    with pytest.raises(TypeError, match="'order' has no form that is the same"):
        declare(app, name="other").apply_async((Order(number=1),), serializer="pickle")


def test_a_model_that_the_task_would_not_get_back_is_refused(
    app: Celery, admin: redis.Redis
) -> None:
    with pytest.raises(TypeError, match="'order' has no form that is the same"):
        declare(app).delay(Line(number=1))
    with pytest.raises(TypeError, match="'order' has no form that is the same"):
        declare(app, name="plain", pydantic=False).delay(Order(number=1))
    assert ids(admin) == []


@dumps_models
def test_a_worker_makes_them_anew(make_site: Callable[..., Site]) -> None:
    site = make_site(tasks=["tests.tasks.site.models"])
    with site.worker("-c", "1"):
        first, second = site.produce(CODE).stdout.split()
        wait_until(lambda: len(runs.rows(site.runs)) == 2)
    assert {(id, note) for id, note, _ in runs.rows(site.runs)} == {(first, "1 a"), (second, "2 c")}
