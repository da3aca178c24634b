"""What is sent of a kept response: headers, conditional requests, the JSON body."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import django
import pytest
from django.http import HttpResponse, HttpResponseRedirect, JsonResponse
from django.middleware.clickjacking import XFrameOptionsMiddleware
from django.test import Client, RequestFactory
from django.views.decorators.clickjacking import xframe_options_exempt

from redis_optimizer.decorators import cached_status

from . import site
from .conftest import Clock
from .test_views import body


def view_of(response: Any, **options: Any) -> Any:
    """Return a kept view that returns what the function makes."""

    @cached_status(60, **{"vary": None, **options})
    def view(request: Any) -> Any:
        return response()

    return view


class TestHeaders:
    def test_what_the_view_set_stays(self, rf: RequestFactory) -> None:
        view = view_of(
            lambda: HttpResponse(
                "x",
                status=203,
                reason="So they say",
                headers={
                    "Content-Type": "text/x-test; charset=latin-1",
                    "Cache-Control": "public, max-age=60",
                    "ETag": '"1"',
                    "X-Own": "1",
                },
            )
        )
        for _ in range(2):
            response = view(rf.get("/"))
            assert (response.status_code, response.reason_phrase) == (203, "So they say")
            assert response["Content-Type"] == "text/x-test; charset=latin-1"
            assert response["Cache-Control"] == "public, max-age=60"
            assert (response["ETag"], response["X-Own"]) == ('"1"', "1")
            assert "Vary" not in response

    def test_else_browsers_ask_each_time(self, client: Client) -> None:
        assert client.get("/status/")["Cache-Control"] == "private, no-cache"
        assert client.get("/special/cookie/")["Cache-Control"] == "private, no-cache"

    def test_a_strong_etag_of_a_body_that_differs_each_time_becomes_weak(
        self, rf: RequestFactory
    ) -> None:
        view = view_of(lambda: JsonResponse({}, headers={"ETag": '"1"'}))
        assert view(rf.get("/"))["ETag"] == 'W/"1"'

    def test_a_length_that_the_view_set_is_not_kept(self, rf: RequestFactory) -> None:
        view = view_of(lambda: JsonResponse({}, headers={"Content-Length": "2"}))
        assert "Content-Length" not in view(rf.get("/"))
        own = view_of(
            lambda: JsonResponse({}, headers={"Content-Length": "2", "Cache-Control": "no-store"})
        )
        response = own(rf.get("/"))
        assert int(response["Content-Length"]) == len(response.content)

    def test_vary_adds_cookie_to_the_views_own(self, rf: RequestFactory) -> None:
        view = view_of(lambda: HttpResponse(headers={"Vary": "Accept"}), vary=lambda request: 1)
        for _ in range(3):
            assert view(rf.get("/"))["Vary"] == "Accept, Cookie"

    def test_who_may_frame_it_says_the_view(self, rf: RequestFactory) -> None:
        view = cached_status(60, vary=None)(xframe_options_exempt(lambda request: HttpResponse()))
        answer = XFrameOptionsMiddleware(view)
        etag = answer(rf.get("/"))["ETag"]
        for headers, status in (({}, 200), ({"If-None-Match": etag}, 304)):
            response = answer(rf.get("/", headers=headers))
            assert (response.status_code, response["X-Cache"]) == (status, "hit")
            assert "X-Frame-Options" not in response

    @pytest.mark.skipif(django.VERSION < (6, 0), reason="Django 5.2 has no CSP")
    def test_so_it_does_what_may_run_there(self, rf: RequestFactory, settings: Any) -> None:
        csp = import_module("django.views.decorators.csp")
        middleware = import_module("django.middleware.csp").ContentSecurityPolicyMiddleware
        settings.SECURE_CSP = settings.SECURE_CSP_REPORT_ONLY = {"default-src": ["*"]}
        own = {"default-src": ["a.example"]}
        marked = csp.csp_override(own)(csp.csp_report_only_override(own)(lambda _: HttpResponse()))
        answer = middleware(cached_status(60, vary=None)(marked))
        for _ in range(2):
            response = answer(rf.get("/"))
            assert response["Content-Security-Policy"] == "default-src a.example"
            assert response["Content-Security-Policy-Report-Only"] == "default-src a.example"


class TestConditional:
    def test_who_has_the_response_gets_304(self, client: Client, clock: Clock) -> None:
        etag = client.get("/status/")["ETag"]
        assert etag.startswith('W/"')
        clock.time += 30
        response = client.get("/status/", headers={"if-none-match": etag})
        assert (response.status_code, response.content) == (304, b"")
        assert (response["X-Cache"], response["Age"]) == ("hit", "30")
        assert response["ETag"] == etag
        assert response["Cache-Control"] == "private, no-cache"
        assert client.get("/status/", headers={"if-none-match": 'W/"x"'}).status_code == 200

    def test_304_for_a_response_that_was_made_anew_and_is_the_same(
        self, rf: RequestFactory, clock: Clock
    ) -> None:
        view = view_of(lambda: {"a": 1})
        etag = view(rf.get("/"))["ETag"]
        clock.time += 60
        response = view(rf.get("/", headers={"if-none-match": etag}))
        assert (response.status_code, response["X-Cache"]) == (304, "miss")

    def test_the_etag_is_of_the_content_alone(self, rf: RequestFactory, clock: Clock) -> None:
        values = [{"a": 1}, {"a": 1, "age": 99}, {"a": 2}]
        view = view_of(lambda: values.pop(0))
        etags = []
        for _ in range(3):
            etags.append(view(rf.get("/"))["ETag"])
            clock.time += 60
        assert etags[0] == etags[1] != etags[2]

    def test_it_differs_for_each_media_type(self, rf: RequestFactory) -> None:
        kinds = ["text/plain", "text/html"]
        views = [view_of(lambda kind=kind: HttpResponse("x", content_type=kind)) for kind in kinds]
        assert views[0](rf.get("/"))["ETag"] != views[1](rf.get("/"))["ETag"]

    def test_what_a_view_says_was_changed_when_is_honoured(self, rf: RequestFactory) -> None:
        when = "Thu, 01 Jan 2026 00:00:00 GMT"
        view = view_of(lambda: HttpResponse("x", headers={"Last-Modified": when}))
        assert view(rf.get("/", headers={"if-modified-since": when})).status_code == 304

    def test_a_failure_has_none(self, rf: RequestFactory) -> None:
        view = view_of(lambda: JsonResponse({}, status=503))
        assert "ETag" not in view(rf.get("/"))
        assert view(rf.get("/", headers={"if-none-match": "*"})).status_code == 503

    def test_head_too(self, client: Client) -> None:
        etag = client.head("/status/")["ETag"]
        assert client.head("/status/", headers={"if-none-match": etag}).status_code == 304


class TestBody:
    @pytest.mark.parametrize(
        ("content", "kind"),
        [
            (b"{}", "application/json"),
            (b" { } \n", "application/json; charset=utf-8"),
            (b'{"a": {"b": "}"}}', "application/health+json"),
            ('{"a": "ü"}'.encode(), "application/json"),
        ],
    )
    def test_an_object_says_how_it_came_about(
        self, rf: RequestFactory, content: bytes, kind: str
    ) -> None:
        view = view_of(lambda: HttpResponse(content, content_type=kind))
        for is_cached in (False, True):
            answer = body(view(rf.get("/")))
            assert (answer["cached"], answer["age"]) == (is_cached, 0.0)
            assert set(answer) - {"cached", "age", "response_time_ms"} <= {"a"}

    @pytest.mark.parametrize(
        ("content", "headers"),
        [
            (b"[1]", {"Content-Type": "application/json"}),
            (b'"{}"', {"Content-Type": "application/json"}),
            (b"{broken", {"Content-Type": "application/json"}),
            (b"", {"Content-Type": "application/json"}),
            (b"{}", {"Content-Type": "text/plain"}),
            ("{}".encode("utf-16"), {"Content-Type": "application/json"}),
            (b"{}", {"Content-Type": "application/json", "Content-Encoding": "br"}),
        ],
    )
    def test_what_is_no_object_stays_as_it_is(
        self, rf: RequestFactory, content: bytes, headers: dict[str, str]
    ) -> None:
        view = view_of(lambda: HttpResponse(content, headers=headers))
        assert [view(rf.get("/")).content for _ in range(2)] == [content] * 2

    @pytest.mark.parametrize("make", [dict, JsonResponse])
    def test_our_values_win_over_the_views_own(self, rf: RequestFactory, make: Any) -> None:
        view = view_of(lambda: make({"cached": "x", "age": "x", "response_time_ms": "x", "b": 1}))
        for _ in range(2):
            content = view(rf.get("/")).content
            assert b"x" not in content
            assert content.count(b'"age"') == 1
            assert b'"b": 1' in content

    def test_a_caller_cannot_change_what_the_next_one_gets(self, rf: RequestFactory) -> None:
        view = view_of(lambda: {"a": 1})
        for _ in range(3):
            response = view(rf.get("/"))
            assert body(response)["a"] == 1
            assert "X-Mine" not in response
            assert not response.cookies
            response.headers["X-Mine"] = "1"
            response.set_cookie("mine", "1")
            response.content = b"changed"

    def test_the_dict_of_a_view_is_its_own(self, rf: RequestFactory) -> None:
        kept = {"a": 1, "age": 7}
        view = view_of(lambda: kept)
        view(rf.get("/"))
        assert kept == {"a": 1, "age": 7}
        kept["a"] = 2
        assert body(view(rf.get("/")))["a"] == 1


def test_a_view_may_take_arguments_of_its_path(client: Client) -> None:
    numbers = [body(client.get(f"/Status/{number}/"))["number"] for number in (1, 2, 1)]
    assert numbers == [1, 2, 1]
    assert site.runs["Status"] == 2


def test_a_redirect_stays_what_the_view_returned(rf: RequestFactory) -> None:
    view = view_of(lambda: HttpResponseRedirect("/there/"))
    for _ in range(2):
        response = view(rf.get("/"))
        assert (response.status_code, response.url, response["X-Cache"]) == (302, "/there/", "miss")
