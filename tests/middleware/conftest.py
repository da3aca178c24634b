"""A task whose jobs go to the test's server, and nothing counted or found before a test."""

from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery
from django.core.signals import request_finished, request_started
from django.db import close_old_connections
from django.test import override_settings

from redis_optimizer.embedded import EmbeddedServer
from redis_optimizer.stats.views import counter
from redis_optimizer.tasks import batching

MIDDLEWARE = "redis_optimizer.middleware.RedisOptimizerMiddleware"


@pytest.fixture(autouse=True)
def _site() -> Iterator[None]:
    """Serve the views of :mod:`tests.middleware.site` through the middleware."""
    with override_settings(
        ROOT_URLCONF="tests.middleware.site", MIDDLEWARE=[MIDDLEWARE], ALLOWED_HOSTS=["testserver"]
    ):
        counter.reset()
        yield
        counter.reset()


@pytest.fixture(autouse=True)
def _connections_stay() -> Iterator[None]:
    """Let requests close no database connection: they are the tests' own, as in Django's client."""
    signals = (request_started, request_finished)
    for signal in signals:
        signal.disconnect(close_old_connections)
    yield
    for signal in signals:
        signal.connect(close_old_connections)


@pytest.fixture
def task(server: EmbeddedServer) -> Iterator[Any]:
    """Return a task of the current app; nothing of it is left in the process afterwards."""
    app = Celery("middleware", broker=server.url)
    app.conf.task_ignore_result = True

    @app.task(shared=False)
    def task() -> None: ...

    yield task
    batching.outbox().close(0)
    batching._forget()
