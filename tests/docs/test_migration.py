"""What the pages for people who come from other packages show runs, and does what they say."""

import importlib
from collections.abc import Iterator
from functools import partial
from typing import Any

import celery
import pytest
from django.core.cache import cache
from django.test import override_settings

from redis_optimizer.cache import TieredCache
from redis_optimizer.checks.health import check_health
from redis_optimizer.embedded import HOST, EmbeddedServer
from redis_optimizer.health import registry
from redis_optimizer.tasks import OptimizedTask
from tests.docs.pages import read_blocks

ADDRESS = "127.0.0.1:6379"  # of the server, on the pages


@pytest.fixture
def app(server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[celery.Celery]:
    """Yield an app, which has the tasks of the pages."""
    app = celery.Celery("pages", broker=f"redis://{HOST}:{server.port}/0", set_as_current=False)
    app.conf.task_ignore_result = True
    # Else it would be a task of every app that is made later.
    monkeypatch.setattr(celery, "shared_task", partial(app.task, shared=False))
    yield app
    app.close()


def run_page(page: str, **names: Any) -> dict[str, Any]:
    """Run what a page shows as "after", and return what it defined."""
    [block] = [each for each in read_blocks(f"migration/{page}.rst") if each.caption == "after"]
    scope: dict[str, Any] = {"__name__": f"after_{page.replace('-', '_')}", **names}
    exec(compile(block.code.replace(ADDRESS, names.get("address", ADDRESS)), page, "exec"), scope)
    return scope


def test_from_django_redis(server: EmbeddedServer) -> None:
    shown = run_page("django-redis", address=f"{HOST}:{server.port}", INSTALLED_APPS=[])
    with override_settings(CACHES=shown["CACHES"]):
        assert isinstance(cache._connections[cache._alias], TieredCache)
        cache.set("key", ["value"])
        assert cache.get("key") == ["value"]
    assert shown["INSTALLED_APPS"] == ["redis_optimizer"]


def test_from_celery() -> None:
    shown = run_page("celery")
    [before] = [each for each in read_blocks("migration/celery.rst") if each.caption == "before"]
    old: dict[str, Any] = {}
    exec(before.code, old)
    assert shown["CELERY_BROKER_URL"] == old["CELERY_BROKER_URL"]
    options = shown["CELERY_BROKER_TRANSPORT_OPTIONS"]
    assert options.items() >= old["CELERY_BROKER_TRANSPORT_OPTIONS"].items()
    assert shown["CELERY_RESULT_BACKEND"].endswith(old["CELERY_RESULT_BACKEND"])


def test_from_celery_batches(app: celery.Celery) -> None:
    saved: dict[str, int] = {}
    task = run_page("celery-batches", save=saved.__setitem__)["count_click"]
    assert isinstance(task, OptimizedTask)
    assert (task.batch_size, task.batch_timeout) == (100, 10)
    app.conf.task_always_eager = True
    task.delay(url="/")
    assert saved == {"/": 1}


def test_from_celery_once(app: celery.Celery) -> None:
    sync = run_page("celery-once")["sync"]
    first = sync.delay("mail", reason="asked")
    assert sync.delay("mail", reason="again").id == first.id
    assert sync.delay("chat").id != first.id


def test_from_celery_singleton(app: celery.Celery) -> None:
    refresh = run_page("celery-singleton")["refresh"]
    first = refresh.delay(7)
    assert refresh.delay(7, force=True).id == first.id
    assert refresh.delay(8).id != first.id


def test_from_django_health_check() -> None:
    importlib.import_module("health_check.checks")
    shown = run_page("django-health-check")
    with override_settings(REDIS_OPTIMIZER=shown["REDIS_OPTIMIZER"]):
        assert check_health() == []
        assert registry.problems() == []
        names = {check.name for check in registry.get_checks()}
    assert "health-check-Storage" in names or "health-check-storage" in names
