"""What redis_optimizer.internals leans on in Django's requests."""

import asyncio
from importlib import import_module
from typing import Any

import django
import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.auth.models import AnonymousUser
from django.contrib.sessions.backends.signed_cookies import SessionStore
from django.core.handlers.base import BaseHandler
from django.db import connections, transaction
from django.http import HttpRequest, HttpResponse
from django.middleware.cache import CacheMiddleware
from django.middleware.csrf import CsrfViewMiddleware, get_token
from django.test import RequestFactory
from django.views.decorators.clickjacking import xframe_options_exempt

from redis_optimizer.internals import (
    csrf_token_noted,
    leave_out_of_cache,
    loaded_user,
    marks_of,
    non_atomic_requests,
    set_non_atomic_requests,
)


@pytest.fixture
def request_() -> Any:
    """Return a request that has been through the middleware of sessions and users."""
    request: Any = RequestFactory().get("/")
    request.session = SessionStore()
    AuthenticationMiddleware(lambda request: HttpResponse()).process_request(request)
    return request


class TestLoadedUser:
    def test_none_before_anybody_asked(self, request_: Any) -> None:
        assert loaded_user(request_) is None
        assert loaded_user(HttpRequest()) is None

    def test_the_one_that_was_asked_for(self, request_: Any) -> None:
        assert request_.user.is_anonymous
        assert isinstance(loaded_user(request_), AnonymousUser)

    def test_the_one_that_a_coroutine_asked_for(self, request_: Any) -> None:
        asyncio.run(request_.auser())
        assert isinstance(loaded_user(request_), AnonymousUser)

    def test_one_that_was_put_there(self, request_: Any) -> None:
        request_.user = get_user_model()(username="ann")
        assert loaded_user(request_) is request_.user


class TestCsrfToken:
    def test_it_is_noted_when_it_is_asked_for(self, request_: Any) -> None:
        with csrf_token_noted(request_) as is_used:
            assert not is_used()
            get_token(request_)
            assert is_used()

    def test_so_it_is_when_a_decorator_has_seen_to_the_cookie(self, request_: Any) -> None:
        with csrf_token_noted(request_) as is_used:
            get_token(request_)
            assert _cookies(request_) == ["csrftoken"]
            assert is_used()
        assert _cookies(request_) == []

    def test_what_was_asked_for_before_still_gets_its_cookie(self, request_: Any) -> None:
        get_token(request_)
        with csrf_token_noted(request_) as is_used:
            assert not is_used()
        assert _cookies(request_) == ["csrftoken"]

    def test_so_does_what_is_asked_for_inside(self, request_: Any) -> None:
        with csrf_token_noted(request_):
            get_token(request_)
        assert _cookies(request_) == ["csrftoken"]

    def test_nobody_gets_one_who_did_not_ask(self, request_: Any) -> None:
        with csrf_token_noted(request_):
            pass
        assert _cookies(request_) == []


def _cookies(request: HttpRequest) -> list[str]:
    response = HttpResponse()
    CsrfViewMiddleware(lambda request: response).process_response(request, response)
    return list(response.cookies)


def test_what_is_left_out_of_cache_page_is_not_kept(request_: Any) -> None:
    middleware = CacheMiddleware(lambda request: HttpResponse(), page_timeout=60)
    for is_left_out in (True, False):
        assert middleware.process_request(request_) is None
        if is_left_out:
            leave_out_of_cache(request_)
        middleware.process_response(request_, HttpResponse("a page"))
    assert middleware.process_request(request_) is not None


class TestMarks:
    def test_those_for_the_middleware_are_found(self) -> None:
        assert marks_of(xframe_options_exempt(lambda: HttpResponse())()) == {
            "xframe_options_exempt": True
        }
        assert marks_of(HttpResponse()) == {}

    @pytest.mark.skipif(django.VERSION < (6, 0), reason="Django 5.2 has no CSP")
    def test_those_of_a_policy_as_well(self) -> None:
        csp = import_module("django.views.decorators.csp")
        found = []
        for override in (csp.csp_override, csp.csp_report_only_override):
            response = override({"img-src": ["a.example"]})(lambda request: HttpResponse())(None)
            found += marks_of(response).values()
        assert found == [{"img-src": ["a.example"]}] * 2


class TestNonAtomicRequests:
    def test_what_djangos_decorator_says_is_read(self) -> None:
        def view() -> None: ...

        assert non_atomic_requests(view) == set()
        transaction.non_atomic_requests(using="other")(view)
        assert non_atomic_requests(view) == {"other"}

    def test_it_adds_to_what_is_there_and_django_asks_that(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class All(set[str]):
            def __contains__(self, alias: object) -> bool:
                return True

        def view() -> None: ...

        aliases = All()
        set_non_atomic_requests(view, aliases)
        transaction.non_atomic_requests(view)
        assert list(aliases) == ["default"]
        monkeypatch.setitem(connections.settings["default"], "ATOMIC_REQUESTS", True)
        assert BaseHandler().make_view_atomic(view) is view
