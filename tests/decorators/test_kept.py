"""What views return, raise and are marked with: what of it is kept."""

from __future__ import annotations

from typing import Any

import pytest
from asgiref.sync import iscoroutinefunction
from django.core.exceptions import BadRequest, DisallowedHost, PermissionDenied
from django.http import Http404, HttpResponse
from django.test import AsyncClient, Client, RequestFactory

from redis_optimizer.decorators import cached_health, cached_status
from redis_optimizer.decorators.shelf import shelf

from . import site
from .conftest import Clock
from .test_views import body


def fail(error: Exception) -> Any:
    raise error


class TestErrors:
    @pytest.mark.parametrize("error", [ValueError("no"), Http404("no")])
    def test_an_error_is_not_kept(self, rf: RequestFactory, error: Exception) -> None:
        outcomes: list[Any] = [error, {"run": 2}]

        @cached_status(60, vary=None)
        def view(request: Any) -> Any:
            outcome = outcomes.pop(0)
            if isinstance(outcome, Exception):
                raise outcome
            return outcome

        with pytest.raises(type(error)):
            view(rf.get("/"))
        assert body(view(rf.get("/")))["run"] == 2

    def test_the_last_response_is_served_instead(
        self, rf: RequestFactory, clock: Clock, caplog: pytest.LogCaptureFixture
    ) -> None:
        fails: list[bool] = []

        @cached_status(60, vary=None, stale_if_error=100)
        def view(request: Any) -> dict[str, Any]:
            if fails:
                raise ConnectionError("no upstream")
            return {"run": site.run("view"), "stale": "the view's own"}

        assert body(view(rf.get("/")))["stale"] == "the view's own"
        fails.append(True)
        clock.time += 159
        response = view(rf.get("/"))
        assert body(response) | {"response_time_ms": 0} == {
            "run": 1,
            "cached": True,
            "stale": True,
            "age": 159.0,
            "response_time_ms": 0,
        }
        assert response.content.count(b"stale") == 1
        assert (response["X-Cache"], response["Age"]) == ("stale", "159")
        assert "no upstream" in caplog.text
        clock.time += 1
        with pytest.raises(ConnectionError):
            view(rf.get("/"))
        fails.clear()
        assert body(view(rf.get("/")))["cached"] is False

    @pytest.mark.parametrize(
        "error", [Http404("gone"), PermissionDenied("no"), BadRequest("no"), DisallowedHost("no")]
    )
    async def test_an_error_that_is_an_answer_is_not_covered_up(
        self, rf: RequestFactory, clock: Clock, error: Exception
    ) -> None:
        raised: list[Exception] = []

        @cached_status(60, vary=None, stale_if_error=100)
        def view(request: Any) -> dict[str, Any]:
            return {"run": site.run("view")} if not raised else fail(raised[0])

        @cached_status(60, vary=None, stale_if_error=100)
        async def aview(request: Any) -> dict[str, Any]:
            return {"run": site.run("aview")} if not raised else fail(raised[0])

        view(rf.get("/"))
        await aview(rf.get("/"))
        raised.append(error)
        clock.time += 61
        with pytest.raises(type(error)):
            view(rf.get("/"))
        with pytest.raises(type(error)):
            await aview(rf.get("/"))


class TestWhatIsNotKept:
    @pytest.mark.parametrize(
        "kind",
        ["stream", "cookie", "no-store", "private", "*", "Cookie", "404", "500", "302", "206"],
    )
    def test_a_response_that_must_not_be(self, client: Client, kind: str) -> None:
        responses = [client.get(f"/special/{kind}/") for _ in range(2)]
        assert [response["X-Cache"] for response in responses] == ["miss", "miss"]
        assert site.runs[kind] == 2
        assert len(shelf) == 0

    @pytest.mark.parametrize("kind", ["200", "201", "public"])
    def test_and_one_that_may(self, client: Client, kind: str) -> None:
        responses = [client.get(f"/special/{kind}/") for _ in range(2)]
        assert [response["X-Cache"] for response in responses] == ["miss", "hit"]
        assert responses[0].status_code == responses[1].status_code

    def test_it_says_all_the_same_how_it_came_about(self, client: Client) -> None:
        response = client.get("/special/cookie/")
        assert body(response)["cached"] is False
        assert response.cookies["seen"].value == "1"
        assert b"".join(client.get("/special/stream/").streaming_content) == b"run 1"

    def test_a_private_one_is_kept_where_vary_tells_people_apart(self, rf: RequestFactory) -> None:
        @cached_status(60, vary=lambda request: 1)
        def view(request: Any) -> HttpResponse:
            return HttpResponse(headers={"Cache-Control": "private", "Vary": "Cookie"})

        assert [view(rf.get("/"))["X-Cache"] for _ in range(2)] == ["miss", "hit"]
        assert view(rf.get("/"))["Cache-Control"] == "private"
        assert view(rf.get("/"))["Vary"] == "Cookie"


class TestTemplates:
    def test_one_is_rendered_once(self, client: Client) -> None:
        responses = [client.get("/page/plain/") for _ in range(2)]
        assert [response.content for response in responses] == [b"run 1"] * 2
        assert [response["X-Cache"] for response in responses] == ["miss", "hit"]

    async def test_one_of_an_async_view_too(self, async_client: AsyncClient) -> None:
        responses = [await async_client.get("/apage/") for _ in range(2)]
        assert [response.content for response in responses] == [b"run 1"] * 2


class TestMarks:
    def test_what_other_decorators_left_on_a_view_stays(self) -> None:
        view: Any = site.health
        assert (view.csrf_exempt, view.login_required) == (True, False)
        assert (view.__name__, view.__wrapped__.__name__) == ("health", "health")

        @cached_health
        @site.csrf_exempt
        @site.login_not_required
        def inner(request: Any) -> None: ...

        assert (inner.csrf_exempt, inner.login_required) == (True, False)  # type: ignore[attr-defined]

    def test_a_coroutine_function_stays_one(self) -> None:
        assert iscoroutinefunction(site.ahealth)
        assert iscoroutinefunction(site.AStatus.as_view())
        assert not iscoroutinefunction(site.health)
        assert not iscoroutinefunction(site.Status.as_view())

    def test_a_view_of_a_class_may_be_decorated_as_well(self, rf: RequestFactory) -> None:
        class View(site.View):
            def get(self, request: Any) -> dict[str, Any]:
                return {"run": site.run("View")}

        view = cached_status(60, vary=None)(View.as_view())
        assert [view(rf.get("/"))["X-Cache"] for _ in range(2)] == ["miss", "hit"]
