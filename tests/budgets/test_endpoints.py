"""What polling costs while a response is warm: nothing, for the public and for staff."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import redis
from django.contrib.auth import get_user_model
from django.core.cache import cache
from django.db import connection
from django.http import HttpRequest
from django.test import AsyncClient, Client, override_settings
from django.test.utils import CaptureQueriesContext
from django.urls import path

from redis_optimizer.decorators import cached_health, cached_status
from redis_optimizer.decorators.shelf import shelf
from redis_optimizer.health.audience import known
from tests.cache.caches import counted

pytestmark = pytest.mark.django_db


def look(request: Any) -> dict[str, Any]:
    """Ask Redis and the database."""
    cache.set("probe", 1)
    return {"users": get_user_model().objects.count(), "staff": request.user.is_staff}


def integrations(request: HttpRequest) -> dict[str, Any]:
    cache.set("probe", 1)
    return {"users": get_user_model().objects.count()}


urlpatterns = [
    path("health/", cached_health(look)),
    path("status/", cached_status(vary=None, staff_ttl=60)(integrations)),
    path("plain/", cached_status(0, vary=None)(integrations)),
]


@pytest.fixture(autouse=True)
def _site() -> Iterator[None]:
    """Run a site that keeps its sessions in Redis, and its users in the database."""
    with override_settings(
        ROOT_URLCONF=__name__,
        SESSION_ENGINE="django.contrib.sessions.backends.cache",
        SESSION_CACHE_ALIAS="plain",
        MIDDLEWARE=[
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
        ],
    ):
        shelf.clear()
        known.clear()
        yield
        shelf.clear()
        known.clear()


@pytest.fixture(params=["public", "staff"])
def visitor(request: pytest.FixtureRequest) -> Client:
    """Return a client of the public, or of staff."""
    client = Client()
    if request.param == "staff":
        client.force_login(get_user_model().objects.create_user("boss", is_staff=True))
    return client


@pytest.mark.parametrize("url", ["/health/", "/status/"])
def test_a_warm_endpoint_sends_no_command_and_no_query(
    visitor: Client, admin: redis.Redis, url: str
) -> None:
    first = visitor.get(url)
    assert first["X-Cache"] == "miss"
    with counted(admin) as calls, CaptureQueriesContext(connection) as queries:
        for _ in range(20):
            assert visitor.get(url)["X-Cache"] == "hit"
            headers = {"if-none-match": first["ETag"]}
            assert visitor.get(url, headers=headers).status_code == 304
    assert calls == {}
    assert len(queries) == 0


def test_a_view_that_is_switched_off_costs_what_it_did(client: Client, admin: redis.Redis) -> None:
    client.get("/plain/")
    with counted(admin) as calls, CaptureQueriesContext(connection) as queries:
        for _ in range(5):
            assert client.get("/plain/")["X-Cache"] == "off"
    assert calls["set"] == 5
    assert len(queries) == 5


def test_staff_are_looked_up_once(admin: redis.Redis) -> None:
    client = Client()
    client.force_login(get_user_model().objects.create_user("boss", is_staff=True))
    with counted(admin) as calls, CaptureQueriesContext(connection) as queries:
        for _ in range(5):
            client.get("/health/")
            client.get("/status/")
    assert calls["get"] == 1  # the session
    assert len(queries) == 3  # the user, and what each view counts


@pytest.mark.django_db(transaction=True)
async def test_a_warm_endpoint_is_as_quiet_on_the_event_loop(
    async_client: AsyncClient, admin: redis.Redis
) -> None:
    await async_client.get("/health/")
    with counted(admin) as calls:
        for _ in range(20):
            assert (await async_client.get("/health/"))["X-Cache"] == "hit"
    assert calls == {}
