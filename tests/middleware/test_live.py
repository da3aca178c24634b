"""``live/`` is answered before anything could stand in its way."""

import sys
from types import ModuleType
from typing import Any

import pytest
from django.http import HttpResponse
from django.test import Client, RequestFactory, override_settings
from django.urls import clear_url_caches

from redis_optimizer.middleware import RedisOptimizerMiddleware, live
from redis_optimizer.stats.views import counter

from . import site
from .conftest import MIDDLEWARE
from .site import Served, aserve

LIVE = "/größe/live/"


@pytest.fixture
def guarded(settings: Any) -> None:
    """Ask for what no probe can give: a host name that is allowed, SSL and a log-in."""
    settings.ALLOWED_HOSTS = ["site.example"]
    settings.SECURE_SSL_REDIRECT = True
    settings.MIDDLEWARE = [
        MIDDLEWARE,
        "django.middleware.security.SecurityMiddleware",
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.auth.middleware.LoginRequiredMiddleware",
    ]


def assert_alive(response: Any) -> None:
    assert response.status_code == 200
    assert response.json() == {"status": "ok"}
    assert response["Content-Type"] == "application/json"
    assert response["Content-Length"] == "16"
    assert response["Cache-Control"] == "no-store"
    assert not response.cookies


@pytest.mark.usefixtures("guarded")
def test_neither_host_nor_ssl_nor_log_in_is_asked_for(client: Client) -> None:
    assert_alive(client.get(LIVE, headers={"Host": "10.0.0.7"}))
    assert client.get("/", headers={"Host": "10.0.0.7"}).status_code == 400


@pytest.mark.usefixtures("guarded")
async def test_nor_of_an_asynchronous_site() -> None:
    communicator = await aserve(LIVE)  # the host name is "testserver"
    start = await communicator.receive_output()
    assert (start["status"], dict(start["headers"])[b"Cache-Control"]) == (200, b"no-store")
    assert (await communicator.receive_output())["body"] == b'{"status": "ok"}'
    await communicator.wait()


def test_head_is_answered_and_all_else_refused(client: Client) -> None:
    response = client.head(LIVE)
    assert (response.status_code, response["Content-Length"]) == (200, "16")
    response = client.post(LIVE)
    assert (response.status_code, response["Allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize("path", ["/live/", "/größe/live", "/größe/live/more/", "/größe/Live/"])
def test_no_other_path_is(client: Client, path: str) -> None:
    assert client.get(path).status_code == 404


def test_the_path_is_the_same_below_any_script_prefix() -> None:
    path = LIVE.encode().decode("latin-1")
    for prefix in ("", "/one", "/two"):
        assert Served(path, SCRIPT_NAME=prefix).status == 200


def test_it_answers_while_the_rest_is_switched_off(client: Client) -> None:
    with override_settings(REDIS_OPTIMIZER={"ENABLED": False}):
        assert_alive(client.get(LIVE))


def test_it_is_not_counted(client: Client) -> None:
    client.get(LIVE)
    assert counter.snapshot() == {}


@pytest.fixture
def urlconf(settings: Any, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Return the module that the site has for its URLconf, with no URL in it."""
    module = ModuleType("tests.middleware.urlconf")
    module.urlpatterns = []  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    settings.ROOT_URLCONF = module.__name__
    return module


def test_a_site_without_it_is_served_as_ever(
    client: Client, urlconf: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert client.get(LIVE).status_code == 404
    again: list[str] = []
    monkeypatch.setattr(live, "reverse", again.append)
    assert client.get(LIVE).status_code == 404
    assert again == []


def test_a_urlconf_that_cannot_be_imported_is_the_requests_own_error(
    urlconf: ModuleType, rf: RequestFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def view(request: Any) -> HttpResponse:
        seen.append(request.path)
        return HttpResponse()

    middleware = RedisOptimizerMiddleware(view)
    with monkeypatch.context() as patch:
        patch.delitem(sys.modules, urlconf.__name__)
        middleware(rf.get(LIVE))
    assert seen == [LIVE]
    urlconf.urlpatterns = site.urlpatterns  # type: ignore[attr-defined]  # mended
    clear_url_caches()
    middleware(rf.get(LIVE))
    assert seen == [LIVE]


def test_the_path_is_looked_up_once(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    client.get("/")
    monkeypatch.setattr(live, "reverse", None)
    client.get("/")
    assert_alive(client.get(LIVE))
