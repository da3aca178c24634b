"""Asking who asks logs nobody out, though the sessions' cache does not answer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.http import HttpResponse
from django.test import AsyncClient, Client, override_settings
from django.urls import path

from redis_optimizer.decorators import cached_health, cached_status
from redis_optimizer.decorators.shelf import shelf
from redis_optimizer.embedded import EmbeddedServer
from redis_optimizer.health.audience import aaudience, audience, known
from tests.servers import connect

pytestmark = pytest.mark.django_db(transaction=True)  # other threads see the user, too


async def awho(request: Any) -> HttpResponse:
    return HttpResponse(await aaudience(request))


async def aorg(request: Any) -> Any:
    return (await request.auser()).pk


async def aempty(request: Any) -> dict[str, Any]:
    return {}


urlpatterns = [
    path("who/", lambda request: HttpResponse(audience(request))),
    path("awho/", awho),
    path("health/", cached_health(lambda request: {"staff": request.user.is_staff})),
    path("mine/", cached_status(60, vary=lambda request: request.user.pk)(lambda request: {})),
    path("amine/", cached_status(60, vary=aorg)(aempty)),
    path("reads/", lambda request: HttpResponse(str(request.session.get("items")))),
    path("shows/", lambda request: HttpResponse(f"{audience(request)} {request.user}")),
]


@pytest.fixture
def sessions() -> Iterator[EmbeddedServer]:
    """Run a site whose sessions are in a server of their own."""
    with (
        EmbeddedServer() as server,
        override_settings(
            CACHES={
                "default": {
                    "BACKEND": "django_redis.cache.RedisCache",
                    "LOCATION": server.url,
                }
            },
            SESSION_ENGINE="django.contrib.sessions.backends.cache",
            ROOT_URLCONF=__name__,
            MIDDLEWARE=[
                "django.contrib.sessions.middleware.SessionMiddleware",
                "django.contrib.auth.middleware.AuthenticationMiddleware",
            ],
        ),
    ):
        known.clear()
        shelf.clear()
        yield server
        known.clear()
        shelf.clear()


@pytest.fixture
def cookies(sessions: EmbeddedServer) -> Any:
    """Return the cookies of one of the site's staff."""
    client = Client()
    client.force_login(get_user_model().objects.create_user("boss", is_staff=True))
    return client.cookies


ASKS = ["/who/", "/awho/", "/health/", "/mine/", "/amine/"]


@pytest.mark.parametrize("url", ASKS)
def test_nobody_is_logged_out(cookies: Any, sessions: EmbeddedServer, url: str) -> None:
    client = Client()
    client.cookies = cookies
    assert "sessionid" in client.get("/reads/").wsgi_request.COOKIES
    sessions.kill()
    response = client.get(url)
    assert (response.status_code, "sessionid" in response.cookies) == (200, False)
    assert response.content != b"staff"


@pytest.mark.parametrize("url", ["/awho/", "/amine/"])
async def test_nor_on_the_event_loop(
    async_client: AsyncClient, cookies: Any, sessions: EmbeddedServer, url: str
) -> None:
    async_client.cookies = cookies
    sessions.kill()
    response = await async_client.get(url)
    assert (response.status_code, "sessionid" in response.cookies) == (200, False)


@pytest.mark.parametrize("url", ["/who/", "/awho/"])
def test_staff_are_known_again_ten_seconds_after_one_read_that_failed(
    cookies: Any, sessions: EmbeddedServer, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    client = Client()
    client.cookies = cookies
    time = 0.0
    monkeypatch.setattr(known, "now", lambda: time)
    with connect(sessions) as admin:
        admin.execute_command("ACL", "SETUSER", "default", "-get")
        assert client.get(url).content == b"public"
        admin.execute_command("ACL", "SETUSER", "default", "+get")
    time = 9.9
    assert client.get(url).content == b"public"
    time = 10.0
    assert client.get(url).content == b"staff"


def test_a_view_that_reads_the_session_itself_is_djangos_business(
    cookies: Any, sessions: EmbeddedServer
) -> None:
    client = Client()
    client.cookies = cookies
    sessions.kill()
    assert client.get("/reads/").cookies["sessionid"].value == ""


def test_the_response_still_depends_on_the_cookie(cookies: Any, sessions: EmbeddedServer) -> None:
    client = Client()
    client.cookies = cookies
    sessions.kill()
    response = client.get("/shows/")
    assert response.content == b"public AnonymousUser"
    assert "Cookie" in response["Vary"]


def test_a_session_that_is_there_is_left_alone(cookies: Any) -> None:
    client = Client()
    client.cookies = cookies
    with override_settings(SESSION_SAVE_EVERY_REQUEST=True):
        response = client.get("/who/")
    assert response.content == b"staff"
    assert response.cookies["sessionid"].value == client.cookies["sessionid"].value


def test_one_that_is_renewed_by_the_look_is_saved(cookies: Any) -> None:
    """Django does so when the secret key was changed and the old one is among the fallbacks."""
    client = Client()
    client.cookies = cookies
    with override_settings(SECRET_KEY="new", SECRET_KEY_FALLBACKS=["only-for-tests"]):
        before = cookies["sessionid"].value
        response = client.get("/who/")
        assert response.content == b"staff"
        assert response.cookies["sessionid"].value not in ("", before)
