"""What is kept, for whom, and how long."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.http import HttpResponse, JsonResponse
from django.test import AsyncClient, Client, RequestFactory, override_settings
from django.utils import timezone

from redis_optimizer.decorators import cached_health, cached_status
from redis_optimizer.decorators.shelf import shelf
from redis_optimizer.signals import server_lost

from . import site
from .conftest import Clock


def body(response: Any) -> dict[str, Any]:
    return json.loads(response.content)  # type: ignore[no-any-return]


class TestLife:
    @pytest.mark.parametrize("url", ["/status/", "/Status/", "/astatus/", "/AStatus/"])
    def test_a_response_is_kept_for_its_ttl(self, client: Client, clock: Clock, url: str) -> None:
        first = client.get(url)
        assert body(first) | {"language": 0, "response_time_ms": 0} == {
            "run": 1,
            "language": 0,
            "cached": False,
            "age": 0.0,
            "response_time_ms": 0,
        }
        assert (first["X-Cache"], first["Age"]) == ("miss", "0")
        assert float(first["X-Response-Time"]) >= 0
        clock.time += 59.94
        second = client.get(url)
        assert (body(second)["run"], body(second)["cached"], body(second)["age"]) == (1, True, 59.9)
        assert (second["X-Cache"], second["Age"]) == ("hit", "59")
        clock.time += 0.1
        third = client.get(url)
        assert (body(third)["run"], third["X-Cache"]) == (2, "miss")

    @pytest.mark.parametrize("url", ["/astatus/", "/AStatus/", "/status/", "/ahealth/"])
    async def test_it_is_so_on_the_event_loop_too(
        self, async_client: AsyncClient, url: str
    ) -> None:
        responses = [await async_client.get(url) for _ in range(3)]
        assert [response["X-Cache"] for response in responses] == ["miss", "hit", "hit"]
        assert {body(response)["run"] for response in responses} == {1}

    def test_the_ttl_is_the_settings_unless_given(self, rf: RequestFactory, clock: Clock) -> None:
        @cached_status(vary=None)
        def view(request: Any) -> dict[str, Any]:
            return {"run": site.run("view")}

        with override_settings(REDIS_OPTIMIZER={"STATUS_TTL": 7}):
            view(rf.get("/"))
            clock.time += 6.9
            assert body(view(rf.get("/")))["run"] == 1
            clock.time += 0.1
            assert body(view(rf.get("/")))["run"] == 2
        # Read when the view is called, not when it is decorated.
        with override_settings(REDIS_OPTIMIZER={"STATUS_TTL": 70}):
            view(rf.get("/"))
            clock.time += 60
            assert view(rf.get("/"))["X-Cache"] == "hit"

    @pytest.mark.parametrize(
        "options", [{"STATUS_TTL": 0}, {"ENABLED": False}], ids=["ttl 0", "switched off"]
    )
    def test_it_can_be_switched_off(self, rf: RequestFactory, options: dict[str, Any]) -> None:
        @cached_status(vary=None)
        def view(request: Any) -> dict[str, Any]:
            return {"run": site.run("view")}

        with override_settings(REDIS_OPTIMIZER=options):
            responses = [view(rf.get("/")) for _ in range(2)]
        assert [body(response)["run"] for response in responses] == [1, 2]
        assert body(responses[1])["cached"] is False
        assert responses[1]["X-Cache"] == "off"
        assert "ETag" not in responses[1]
        assert "Cache-Control" not in responses[1]
        assert len(shelf) == 0

    def test_other_methods_pass_straight_through(self, client: Client) -> None:
        for number in (1, 2):
            response = client.post("/Status/")
            assert body(response) == {"run": number}
            assert "X-Cache" not in response
        assert client.options("/Status/")["Allow"] == "GET, POST, HEAD, OPTIONS"

    def test_head_has_a_response_of_its_own(self, client: Client) -> None:
        assert [client.head("/status/")["X-Cache"] for _ in range(2)] == ["miss", "hit"]
        assert client.head("/status/").content == b""
        assert client.get("/status/")["X-Cache"] == "miss"

    def test_the_number_of_responses_is_bounded(self, rf: RequestFactory) -> None:
        with override_settings(REDIS_OPTIMIZER={"RESPONSE_ENTRIES": 10}):
            for number in range(50):
                site.status(rf.get("/", {"page": number}))
            assert len(shelf) == 10

    def test_the_bytes_of_responses_are_bounded(self, rf: RequestFactory) -> None:
        @cached_status(60, vary=None, params=("page",))
        def view(request: Any) -> HttpResponse:
            return HttpResponse("x" * 10_000)

        with override_settings(REDIS_OPTIMIZER={"RESPONSE_BYTES": 200_000}):
            for number in range(50):
                view(rf.get("/", {"page": number}))
            assert 10 < len(shelf) < 20


class TestKeys:
    def test_what_a_response_depends_on_tells_it_apart(self, rf: RequestFactory) -> None:
        requests = [
            rf.get("/status/"),
            rf.get("/other/"),
            rf.get("/status/", headers={"host": "a.example"}),
            rf.get("/status/", secure=True),
            rf.get("/status/?page=1"),
            rf.get("/status/?page=2"),
            rf.get("/status/?tag=a&tag=b"),
            rf.get("/status/?tag=a"),
            rf.get("/status/?tag=b&tag=a"),
        ]
        for request in requests:
            assert site.status(request)["X-Cache"] == "miss"
        for request in requests:
            assert site.status(request)["X-Cache"] == "hit"

    def test_other_query_parameters_do_not(self, rf: RequestFactory) -> None:
        site.status(rf.get("/status/?page=1"))
        assert site.status(rf.get("/status/?utm=x&page=1&refresh=1"))["X-Cache"] == "hit"

    def test_each_language_has_its_own(self, client: Client) -> None:
        def language(accept: str) -> str:
            response = client.get("/status/", headers={"accept-language": accept})
            assert "Accept-Language" in response["Vary"]
            return str(body(response)["language"])

        assert [language("de"), language("en"), language("de")] == ["de", "en", "de"]
        assert site.runs["status"] == 2

    def test_each_time_zone_has_its_own(self, rf: RequestFactory) -> None:
        site.status(rf.get("/"))
        with timezone.override("Asia/Tokyo"):
            assert site.status(rf.get("/"))["X-Cache"] == "miss"
        assert site.status(rf.get("/"))["X-Cache"] == "hit"

    def test_a_host_that_is_not_allowed_gets_nothing(self, client: Client) -> None:
        client.get("/status/")
        assert client.get("/status/", headers={"host": "evil.example"}).status_code == 400

    def test_vary_tells_apart_whom_it_is_told_to(self, rf: RequestFactory) -> None:
        @cached_status(60, vary=lambda request: request.headers["Org"])
        def view(request: Any) -> dict[str, Any]:
            return {"org": request.headers["Org"], "run": site.run("view")}

        answers = [body(view(rf.get("/", headers={"org": org}))) for org in "abab"]
        assert [answer["org"] for answer in answers] == ["a", "b", "a", "b"]
        assert site.runs["view"] == 2

    def test_what_compares_equal_is_not_the_same(self, rf: RequestFactory) -> None:
        values: list[Any] = [True, 1, 1.0]

        @cached_status(60, vary=lambda request: values[0])
        def view(request: Any) -> dict[str, Any]:
            return {}

        for _ in range(3):
            assert view(rf.get("/"))["X-Cache"] == "miss"
            values.append(values.pop(0))

    async def test_vary_may_be_a_coroutine_function(self, rf: RequestFactory) -> None:
        async def org(request: Any) -> str:
            return str(request.headers["Org"])

        @cached_status(60, vary=org)
        async def view(request: Any) -> dict[str, Any]:
            return {"org": request.headers["Org"]}

        answers = [body(await view(rf.get("/", headers={"org": org}))) for org in "aba"]
        assert [answer["org"] for answer in answers] == ["a", "b", "a"]
        assert [answer["cached"] for answer in answers] == [False, False, True]

    def test_what_a_view_is_called_with_is_part_of_it(self, rf: RequestFactory) -> None:
        """By another view, say, which takes it from elsewhere than the path."""

        @cached_status(60, vary=None)
        def view(request: Any, org: str, page: int = 1) -> dict[str, Any]:
            return {"org": org, "page": page}

        answers = [body(view(rf.get("/"), org)) for org in "aba"]
        assert [answer["org"] for answer in answers] == ["a", "b", "a"]
        assert [answer["cached"] for answer in answers] == [False, False, True]
        assert [body(view(rf.get("/"), "a", page=page))["page"] for page in (1, 2)] == [1, 2]

    async def test_so_it_is_for_coroutine_functions(self, rf: RequestFactory) -> None:
        @cached_status(60, vary=None)
        async def view(request: Any, org: str) -> dict[str, Any]:
            return {"org": org}

        answers = [body(await view(rf.get("/"), org=org)) for org in "aba"]
        assert [answer["org"] for answer in answers] == ["a", "b", "a"]

    @pytest.mark.parametrize(
        "request_of",
        [
            lambda rf, text: rf.get("/", headers={"Accept": text}),
            lambda rf, text: rf.get("/", headers={"Authorization": text}),
            lambda rf, text: rf.get("/", headers={"Host": text}),
            lambda rf, text: rf.get(f"/{text}"),
            lambda rf, text: rf.get(f"/?page={text}"),
        ],
        ids=["accept", "authorization", "host", "path", "query"],
    )
    def test_the_bytes_of_what_clients_make_up_are_bounded(
        self, rf: RequestFactory, request_of: Any
    ) -> None:
        @cached_status(60, vary=None, params=("page",))
        def view(request: Any) -> HttpResponse:
            return HttpResponse(headers={"Vary": "Accept"})

        with override_settings(REDIS_OPTIMIZER={"RESPONSE_BYTES": 100_000}, ALLOWED_HOSTS=["*"]):
            for number in range(50):
                view(request_of(rf, f"{number}" * 4_000))
            assert 1 <= len(shelf) <= 25

    def test_two_views_never_share(self, rf: RequestFactory) -> None:
        def make(name: str) -> Any:
            @cached_status(60, vary=None)
            def view(request: Any) -> dict[str, Any]:
                return {"name": name}

            return view

        views = [make("a"), make("b")]
        assert [body(view(rf.get("/")))["name"] for view in views * 2] == ["a", "b", "a", "b"]

    def test_nor_do_two_classes_of_which_one_inherits_the_decorator(
        self, rf: RequestFactory
    ) -> None:
        assert "run" in body(site.Status.as_view()(rf.get("/")))
        assert "other" in body(site.OtherStatus.as_view()(rf.get("/")))
        assert site.OtherStatus.as_view()(rf.get("/"))["X-Cache"] == "hit"

    def test_a_header_that_the_view_names_tells_responses_apart(self, client: Client) -> None:
        def get(accept: str) -> tuple[str, str]:
            response = client.get("/special/accept/", headers={"accept": accept})
            return response["X-Cache"], body(response)["accept"]

        answers = [get(accept) for accept in ("text/html", "text/plain", "text/html", "text/plain")]
        assert answers[:2] == [("miss", "text/html"), ("miss", "text/plain")]
        assert answers[2:] == [("hit", "text/html"), ("hit", "text/plain")]


class TestHealth:
    def test_a_failure_is_kept_for_a_shorter_time(self, rf: RequestFactory, clock: Clock) -> None:
        @cached_health
        def view(request: Any) -> JsonResponse:
            return JsonResponse({"run": site.run("view")}, status=503)

        view(rf.get("/"))
        clock.time += 9.9
        response = view(rf.get("/"))
        assert (response.status_code, body(response)["run"], response["X-Cache"]) == (503, 1, "hit")
        clock.time += 0.1
        assert body(view(rf.get("/")))["run"] == 2

    def test_its_times_are_the_settings_unless_given(
        self, rf: RequestFactory, clock: Clock
    ) -> None:
        @cached_health(ttl=5)
        def given(request: Any) -> dict[str, Any]:
            return {"run": site.run("given")}

        @cached_health()
        def not_given(request: Any) -> dict[str, Any]:
            return {"run": site.run("not given")}

        for _ in range(2):
            given(rf.get("/"))
            not_given(rf.get("/"))
            clock.time += 119
        assert site.runs == {"given": 2, "not given": 1}

    def test_other_failures_are_not_kept(self, rf: RequestFactory) -> None:
        @cached_health
        def view(request: Any) -> JsonResponse:
            return JsonResponse({"run": site.run("view")}, status=500)

        assert [body(view(rf.get("/")))["run"] for _ in range(2)] == [1, 2]

    def test_a_lost_server_ends_the_belief_that_all_is_well(
        self, rf: RequestFactory, clock: Clock
    ) -> None:
        statuses = [200, 200, 503, 200]

        @cached_health
        def view(request: Any) -> JsonResponse:
            if len(statuses) == 3:  # lost while it looks: what it saw may be from before
                server_lost.send(None, reason="test")
            return JsonResponse({}, status=statuses.pop(0))

        clock.time += 1
        view(rf.get("/"))
        assert view(rf.get("/"))["X-Cache"] == "hit"
        server_lost.send(None, reason="test")
        assert view(rf.get("/"))["X-Cache"] == "miss"
        clock.time += 1
        assert view(rf.get("/")).status_code == 503
        server_lost.send(None, reason="test")
        assert view(rf.get("/"))["X-Cache"] == "hit"  # that all is not well may be believed

    @pytest.mark.parametrize("ahead", [0, 1_000_000])
    def test_what_begins_after_a_loss_is_believed_whatever_the_clock_says(
        self, rf: RequestFactory, clock: Clock, ahead: int
    ) -> None:
        @cached_health
        def view(request: Any) -> dict[str, Any]:
            return {}

        clock.time += ahead
        server_lost.send(None, reason="test")
        clock.time -= ahead
        assert [view(rf.get("/"))["X-Cache"] for _ in range(2)] == ["miss", "hit"]

    def test_other_endpoints_do_not_care(self, rf: RequestFactory) -> None:
        site.status(rf.get("/"))
        server_lost.send(None, reason="test")
        assert site.status(rf.get("/"))["X-Cache"] == "hit"
