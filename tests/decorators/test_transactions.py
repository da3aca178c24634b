"""With ATOMIC_REQUESTS, a view that runs has its transaction, and a kept response needs none."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import OperationalError, connection, connections
from django.db.transaction import non_atomic_requests
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext
from django.urls import path
from django.views import View

from redis_optimizer.decorators import cached_health, cached_status
from redis_optimizer.decorators.transactions import Transactions

from .test_views import body

pytestmark = pytest.mark.django_db(transaction=True)


def look(request: Any, **kwargs: Any) -> dict[str, Any]:
    if request.GET.get("fail"):
        with connection.cursor() as cursor:
            cursor.execute("INSERT INTO django_content_type (app_label, model) VALUES ('a', 'b')")
        raise LookupError
    return {"is_atomic": connection.in_atomic_block}


@cached_status(60, vary=None)
class Look(View):
    def get(self, request: Any) -> dict[str, Any]:
        return look(request)

    def post(self, request: Any) -> dict[str, Any]:
        return look(request)


async def alook(request: Any) -> dict[str, Any]:
    return {}


decorate = cached_status(60, vary=None, params=("fail",))

urlpatterns = [
    path("health/", cached_health(look)),
    path("status/", decorate(look)),
    path("class/", Look.as_view()),
    path("off/", cached_status(0, vary=None)(look)),
    path("not-inside/", decorate(non_atomic_requests(lambda request: look(request)))),
    path("not-outside/", non_atomic_requests(decorate(look))),
    path("not-the-other/", non_atomic_requests(using="other")(decorate(look))),
    path("async/", decorate(alook)),
]


@pytest.fixture(autouse=True)
def atomic_requests(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.ROOT_URLCONF = __name__
    settings.MIDDLEWARE = []
    monkeypatch.setitem(connections.settings["default"], "ATOMIC_REQUESTS", True)


ATOMIC = ["/health/", "/status/", "/class/", "/off/", "/not-the-other/"]


@pytest.mark.parametrize("url", ATOMIC)
def test_a_view_that_runs_does_so_in_a_transaction(client: Client, url: str) -> None:
    assert body(client.get(url))["is_atomic"] is True


@pytest.mark.parametrize("url", ["/not-inside/", "/not-outside/"])
def test_but_not_where_its_site_says_so(client: Client, url: str) -> None:
    assert body(client.get(url))["is_atomic"] is False


def test_so_does_another_method(client: Client) -> None:
    assert body(client.post("/class/"))["is_atomic"] is True


def test_what_a_failing_view_did_is_undone(client: Client) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM django_content_type WHERE app_label = 'a'")
        assert cursor.fetchone() == (0,)
        with pytest.raises(LookupError):
            client.get("/status/?fail=1")
        cursor.execute("SELECT count(*) FROM django_content_type WHERE app_label = 'a'")
        assert cursor.fetchone() == (0,)


@pytest.mark.parametrize("url", ["/health/", "/status/", "/class/"])
def test_a_kept_response_is_served_without_a_database(
    client: Client, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.get(url)
    with CaptureQueriesContext(connection) as queries:
        assert client.get(url)["X-Cache"] == "hit"
    assert len(queries) == 0

    def fail(*args: Any) -> None:
        raise OperationalError("the database is down")

    monkeypatch.setattr(connection, "set_autocommit", fail)
    monkeypatch.setattr(connection, "ensure_connection", fail)
    assert client.get(url)["X-Cache"] == "hit"
    with pytest.raises(OperationalError):
        client.get("/off/")


def test_a_coroutine_function_is_refused_as_ever(client: Client) -> None:
    with pytest.raises(RuntimeError, match="ATOMIC_REQUESTS with async views"):
        client.get("/async/")


def test_the_view_itself_stays_as_it_was(rf: RequestFactory) -> None:
    @non_atomic_requests
    def view(request: Any) -> dict[str, Any]:
        return look(request)

    non_atomic_requests(using="other")(decorate(view))
    assert set(vars(view)["_non_atomic_requests"]) == {"default"}


def test_only_databases_that_have_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(connections.settings["default"], "ATOMIC_REQUESTS", False)
    assert Transactions(lambda: connection.in_atomic_block).run() is False
