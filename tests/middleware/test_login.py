"""Where each view needs a log-in, the endpoints need none, and look nobody up."""

from collections.abc import Iterator
from typing import Any

import django
import pytest
from asgiref.sync import iscoroutinefunction
from django.contrib.auth import get_user_model
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient, Client
from django.urls import include, path

from redis_optimizer.health.audience import known
from redis_optimizer.middleware import RedisOptimizerMiddleware

from . import site
from .conftest import MIDDLEWARE


def theirs(request: HttpRequest) -> HttpResponse:
    return HttpResponse("theirs")


urlpatterns = [
    *site.urlpatterns[:1],
    path("theirs/", include(([path("health/", theirs)], "theirs"))),
    path("probes/", include("redis_optimizer.urls")),
    path("nested/", include(([path("", include("redis_optimizer.urls"))], "outer"))),
]


@pytest.fixture(autouse=True)
def _guarded(settings: Any) -> Iterator[None]:
    settings.ROOT_URLCONF = __name__
    settings.REDIS_OPTIMIZER = {"HEALTH_CHECKS": []}
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
    settings.MIDDLEWARE = [
        MIDDLEWARE,
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.auth.middleware.LoginRequiredMiddleware",
    ]
    known.clear()
    yield
    known.clear()


ENDPOINTS = ["/probes/health/", "/probes/ready/", "/nested/health/"]


@pytest.fixture
def user(transactional_db: None) -> Client:
    client = Client()
    client.force_login(get_user_model().objects.create_user("ann"))
    client.get("/probes/health/")  # who asks is known from here on
    return client


@pytest.mark.parametrize("url", ENDPOINTS)
def test_without_a_log_in(client: Client, url: str) -> None:
    assert client.get(url).status_code == 200
    assert client.post(url).status_code == 405


@pytest.mark.parametrize("url", ["/", "/theirs/health/"])
def test_all_else_needs_one(client: Client, url: str) -> None:
    assert client.get(url).status_code == 302


@pytest.mark.parametrize("url", ENDPOINTS)
def test_with_one_nobody_is_looked_up(
    user: Client, url: str, django_assert_num_queries: Any
) -> None:
    with django_assert_num_queries(0):
        assert user.get(url).status_code == 200
    assert user.get("/").status_code == 200


@pytest.mark.parametrize("url", ENDPOINTS)
async def test_nor_on_an_asynchronous_site(
    async_client: AsyncClient, user: Client, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any) -> None:
        raise AssertionError("The user was looked up.")

    async_client.cookies = user.cookies
    monkeypatch.setattr("django.contrib.auth.middleware.get_user", fail)
    assert (await async_client.get(url)).status_code == 200


@pytest.mark.parametrize("url", ENDPOINTS)
def test_a_broken_store_of_sessions_breaks_none(client: Client, settings: Any, url: str) -> None:
    # The test has no database.
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.db"
    settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, "django.contrib.sessions"]
    client.cookies[settings.SESSION_COOKIE_NAME] = "a" * 32
    assert client.get(url).status_code == 200


@pytest.mark.skipif(django.VERSION >= (6, 0), reason="Django itself asks whether it must look")
def test_an_asynchronous_site_need_not_go_into_a_thread_for_it() -> None:
    async def get_response(request: HttpRequest) -> HttpResponse:
        return HttpResponse()

    assert iscoroutinefunction(RedisOptimizerMiddleware(get_response).process_view)
    assert not iscoroutinefunction(RedisOptimizerMiddleware(site.plain).process_view)


@pytest.mark.skipif(django.VERSION < (6, 0), reason="Django looks who it is before it asks that")
def test_where_django_asks_first_nothing_is_in_its_way() -> None:
    assert not hasattr(RedisOptimizerMiddleware(site.plain), "process_view")
