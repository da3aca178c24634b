"""What is wrong is named, by the view and the argument, and never kept."""

from __future__ import annotations

import math
from typing import Any

import pytest
from django.contrib.auth.mixins import LoginRequiredMixin
from django.http import HttpRequest
from django.test import RequestFactory
from django.utils.decorators import method_decorator
from django.views import View

from redis_optimizer.decorators import cached, cached_health, cached_status
from redis_optimizer.decorators.shelf import shelf


def view(request: HttpRequest) -> dict[str, Any]:
    return {}


NAME = "tests.decorators.test_bad_input.view"
NO_NUMBERS = [True, "60", [], object(), 1j]
NO_DURATIONS = [-1, -0.1, math.nan, math.inf, -math.inf]


class TestDecorating:
    @pytest.mark.parametrize("value", NO_NUMBERS)
    @pytest.mark.parametrize("argument", ["ttl", "staff_ttl", "stale_if_error"])
    def test_a_duration_that_is_no_number(self, argument: str, value: Any) -> None:
        with pytest.raises(TypeError, match=f"{argument} of {NAME}"):
            cached_status(**{argument: value}, vary=None)(view)

    @pytest.mark.parametrize("value", NO_DURATIONS)
    @pytest.mark.parametrize("argument", ["ttl", "staff_ttl", "stale_if_error"])
    def test_a_number_that_is_no_duration(self, argument: str, value: Any) -> None:
        with pytest.raises(ValueError, match=f"{argument} of {NAME}"):
            cached_status(**{argument: value}, vary=None)(view)

    @pytest.mark.parametrize("argument", ["ttl", "staff_ttl", "failure_ttl"])
    def test_those_of_health(self, argument: str) -> None:
        with pytest.raises(ValueError, match=f"{argument} of {NAME}"):
            cached_health(**{argument: -1})(view)

    @pytest.mark.parametrize("argument", ["ttl", "early", "stale_if_error"])
    def test_those_of_cached(self, argument: str) -> None:
        with pytest.raises(ValueError, match=f"{argument} of {NAME}"):
            cached(**{"ttl": 60, argument: -1})(view)
        with pytest.raises(TypeError, match=f"{argument} of {NAME}"):
            cached(**{"ttl": 60, argument: "1"})(view)

    def test_vary_must_be_given(self) -> None:
        with pytest.raises(TypeError, match="vary=None says that it is public"):
            cached_status(60)
        with pytest.raises(TypeError, match="needs vary"):
            cached_status(view)  # type: ignore[arg-type]  # without parentheses

    @pytest.mark.parametrize("value", ["org", 1, ("org",)])
    def test_vary_must_be_a_function(self, value: Any) -> None:
        with pytest.raises(TypeError, match=f"vary of {NAME}"):
            cached_status(vary=value)(view)

    @pytest.mark.parametrize("value", ["page", b"page", 1, [1], None])
    def test_params_must_be_names(self, value: Any) -> None:
        for decorate in (cached_status(vary=None, params=value), cached_health(params=value)):
            with pytest.raises(TypeError, match=f"params of {NAME}"):
                decorate(view)

    def test_a_ttl_in_the_place_of_the_view(self) -> None:
        with pytest.raises(TypeError, match="write ttl=60"):
            cached_health(60)  # type: ignore[call-overload]

    def test_a_class_that_is_no_view(self) -> None:
        with pytest.raises(TypeError, match="not a View"):
            cached_health(dict)

    def test_a_class_that_asks_who_may_see_it_inside_of_what_is_kept(self) -> None:
        class Status(LoginRequiredMixin, View): ...

        with pytest.raises(TypeError, match=r"Status asks who may see it .* login_required"):
            cached_status(60, vary=lambda request: request.org)(Status)
        cached_status(60, vary=None)(Status)  # what it reads of the user is noticed
        cached_health(Status)

    def test_a_method(self, rf: RequestFactory) -> None:
        class Status(View):
            @cached_health
            def get(self, request: HttpRequest) -> dict[str, Any]:
                return {}

        @method_decorator(cached_health, name="get")
        class Other(View):
            def get(self, request: HttpRequest) -> dict[str, Any]:
                return {}

        for wrong in (Status, Other):
            with pytest.raises(TypeError, match="decorate its class instead"):
                wrong.as_view()(rf.get("/"))


class TestReturning:
    @pytest.mark.parametrize("result", [None, 5, "text", [1], b"bytes", object()])
    @pytest.mark.parametrize("decorate", [cached_health, cached_status(vary=None)])
    def test_something_else_than_a_response(
        self, rf: RequestFactory, decorate: Any, result: Any
    ) -> None:
        @decorate
        def broken(request: Any) -> Any:
            return result

        for _ in range(2):
            with pytest.raises(TypeError, match=r"view .*broken must return a dict") as caught:
                broken(rf.get("/"))
            assert repr(result)[:20] in str(caught.value)
        assert len(shelf) == 0

    def test_a_coroutine_that_nobody_awaits(self, rf: RequestFactory) -> None:
        async def inner() -> dict[str, Any]:
            return {}

        with pytest.raises(TypeError, match="coroutine"):
            cached_health(lambda request: inner())(rf.get("/"))

    def test_a_dict_that_is_no_json(self, rf: RequestFactory) -> None:
        with pytest.raises(TypeError, match="not JSON serializable") as caught:
            cached_health(lambda request: {"a": object()})(rf.get("/"))
        assert "test_bad_input" in caught.value.__notes__[0]

    async def test_from_a_coroutine_function(self, rf: RequestFactory) -> None:
        @cached_health
        async def broken(request: Any) -> Any:
            return None

        with pytest.raises(TypeError, match="broken must return"):
            await broken(rf.get("/"))


class TestVary:
    def test_that_raises(self, rf: RequestFactory) -> None:
        def vary(request: Any) -> Any:
            raise AttributeError("no org")

        decorated = cached_status(vary=vary)(view)
        with pytest.raises(AttributeError, match="no org") as caught:
            decorated(rf.get("/"))
        assert caught.value.__notes__ == [f"It was raised by the vary of {NAME}."]
        assert len(shelf) == 0

    async def test_that_raises_when_awaited(self, rf: RequestFactory) -> None:
        async def vary(request: Any) -> Any:
            raise AttributeError("no org")

        @cached_status(vary=vary)
        async def aview(request: Any) -> Any:
            return {}

        with pytest.raises(AttributeError, match="no org") as caught:
            await aview(rf.get("/"))
        assert "vary of" in caught.value.__notes__[0]

    @pytest.mark.parametrize("value", [[1], {}, {1}, ([],)])
    def test_that_is_not_hashable(self, rf: RequestFactory, value: Any) -> None:
        with pytest.raises(TypeError, match=f"vary of {NAME} must return something hashable"):
            cached_status(vary=lambda request: value)(view)(rf.get("/"))

    def test_that_must_be_awaited_where_nobody_can(self, rf: RequestFactory) -> None:
        async def vary(request: Any) -> int:
            return 1

        with pytest.raises(TypeError, match=f"vary of {NAME} must not be a coroutine function"):
            cached_status(vary=vary)(view)(rf.get("/"))


def test_a_call_of_which_no_key_can_be_made(rf: RequestFactory) -> None:
    decorated = cached_status(60, vary=None)(lambda request, checks: {})
    with pytest.raises(TypeError, match="must be called with what is hashable"):
        decorated(rf.get("/"), checks=["a"])
    assert decorated(rf.post("/"), checks=["a"]).status_code == 200  # of which none is needed


def test_a_request_that_is_wrapped_is_refused() -> None:
    """Who reads its user would not be noticed."""

    class Wrapped:
        method = "GET"

    with pytest.raises(TypeError, match=f"{NAME} got a Wrapped"):
        cached_status(vary=None)(view)(Wrapped())
