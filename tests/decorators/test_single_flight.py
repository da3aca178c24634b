"""Who asks for what is not there waits for one run; what is one caller's alone is not shared."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.http import HttpResponse, JsonResponse, StreamingHttpResponse
from django.test import RequestFactory

from redis_optimizer.decorators import cached_health, cached_status
from redis_optimizer.health.audience import Audience, known
from redis_optimizer.signals import server_lost
from tests.core.loads import PATIENCE, Load, auntil, until

from . import site
from .test_views import body


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(max_workers=200) as pool:
        yield pool


def joined(view: Any) -> int:
    """Return how many callers of a view have waited for another's run."""
    cells = {
        name: cell.cell_contents
        for name, cell in zip(view.__code__.co_freevars, view.__closure__, strict=True)
    }
    return int(cells["endpoint"].keeper.flights.joined)


class TestShared:
    @pytest.mark.parametrize(
        "decorate", [cached_health, cached_status(60, vary=None)], ids=["health", "status"]
    )
    def test_200_threads_share_one_run(
        self, rf: RequestFactory, threads: ThreadPoolExecutor, decorate: Any
    ) -> None:
        load = Load({"a": 1})
        view = decorate(lambda request: load())
        calls = [threads.submit(view, rf.get("/")) for _ in range(200)]
        until(lambda: joined(view) == 199)
        load.may_end.set()
        responses = [call.result(PATIENCE) for call in calls]
        assert load.calls == 1
        assert len({id(response) for response in responses}) == 200
        assert all(body(response)["a"] == 1 for response in responses)
        assert {response["X-Cache"] for response in responses} == {"miss"}

    async def test_200_tasks_share_one_run(self, rf: RequestFactory) -> None:
        load = Load(JsonResponse({"a": 1}))

        @cached_status(60, vary=None)
        async def view(request: Any) -> Any:
            return await load.acall()

        tasks = [asyncio.create_task(view(rf.get("/"))) for _ in range(200)]
        await auntil(lambda: joined(view) == 199)
        load.may_end.set()
        responses = await asyncio.gather(*tasks)
        assert load.calls == 1
        assert len({id(response) for response in responses}) == 200

    def test_an_error_reaches_all_that_waited(
        self, rf: RequestFactory, threads: ThreadPoolExecutor
    ) -> None:
        error = ValueError("no")
        load = Load(error)
        view = cached_status(60, vary=None)(lambda request: load())
        calls = [threads.submit(view, rf.get("/")) for _ in range(5)]
        until(lambda: joined(view) == 4)
        load.may_end.set()
        assert all(call.exception(PATIENCE) is error for call in calls)
        assert load.calls == 1

    def test_a_failing_response_reaches_them_and_is_not_kept(
        self, rf: RequestFactory, threads: ThreadPoolExecutor
    ) -> None:
        load = Load(JsonResponse({}, status=502), {"a": 1})
        view = cached_status(60, vary=None)(lambda request: load())
        calls = [threads.submit(view, rf.get("/")) for _ in range(5)]
        until(lambda: joined(view) == 4)
        load.may_end.set()
        assert {call.result(PATIENCE).status_code for call in calls} == {502}
        assert body(view(rf.get("/")))["a"] == 1

    def test_who_comes_after_a_server_was_lost_is_not_told_that_all_is_well(
        self, rf: RequestFactory, threads: ThreadPoolExecutor
    ) -> None:
        load = Load(200)
        statuses = [503]

        @cached_health
        def view(request: Any) -> JsonResponse:
            status = load() if not load.started.is_set() else statuses.pop()
            return JsonResponse({}, status=status)

        before = threads.submit(view, rf.get("/"))
        assert load.started.wait(PATIENCE)
        server_lost.send(None, reason="test")
        after = threads.submit(view, rf.get("/"))
        until(lambda: joined(view) == 1)
        load.may_end.set()
        assert [one.result(PATIENCE).status_code for one in (before, after)] == [200, 503]

    def test_staff_that_ask_for_a_new_one_share_it(
        self, rf: RequestFactory, threads: ThreadPoolExecutor
    ) -> None:
        known.put("cookie", Audience.STAFF)
        first = Load({"a": 1})
        first.may_end.set()
        loads = [first, Load({"a": 2})]
        view = cached_health(lambda request: loads[0]())

        def ask(url: str) -> Any:
            request = rf.get(url)
            request.COOKIES["sessionid"] = "cookie"
            return view(request)

        ask("/")
        del loads[0]
        calls = [threads.submit(ask, "/?refresh=1") for _ in range(10)]
        until(lambda: joined(view) == 9)
        assert body(ask("/"))["a"] == 1  # who does not ask for it does not wait for it
        loads[0].may_end.set()
        assert {body(call.result(PATIENCE))["a"] for call in calls} == {2}
        assert loads[0].calls == 1


class Meeting:
    """Holds the first run of a view until all others wait for it."""

    def __init__(self, others: int) -> None:
        self.others = others
        self.view: Any = None
        self.lock = threading.Lock()
        self.runs = 0

    def __call__(self) -> int:
        with self.lock:
            self.runs += 1
            mine = self.runs
        if mine == 1:
            until(lambda: joined(self.view) == self.others)
        return mine


class TestNotShared:
    def ask(self, threads: ThreadPoolExecutor, make: Any, **options: Any) -> list[Any]:
        """Return what five callers, each a user, get of a view that returns what `make` makes."""
        meeting = Meeting(4)

        def run(request: Any) -> Any:
            return make(request, meeting())

        view = meeting.view = cached_status(60, **{"vary": None, **options})(run)

        def call(number: int) -> Any:
            request: Any = RequestFactory().get("/")
            request.user = get_user_model()(username=f"user{number}", pk=number)
            try:
                return view(request)
            except PermissionError as error:
                return error

        calls = [threads.submit(call, number) for number in range(5)]
        outcomes = [call.result(PATIENCE) for call in calls]
        assert meeting.runs == 5
        return outcomes

    def test_cookies(self, threads: ThreadPoolExecutor) -> None:
        def make(request: Any, number: int) -> HttpResponse:
            response = HttpResponse(str(number))
            response.set_cookie("number", str(number))
            return response

        outcomes = self.ask(threads, make)
        assert {one.cookies["number"].value for one in outcomes} == set("12345")
        assert all(one.content.decode() == one.cookies["number"].value for one in outcomes)

    def test_streams(self, threads: ThreadPoolExecutor) -> None:
        outcomes = self.ask(threads, lambda request, n: StreamingHttpResponse([str(n).encode()]))
        assert {b"".join(one.streaming_content) for one in outcomes} == {*map(str.encode, "12345")}

    def test_what_is_not_to_be_stored(self, threads: ThreadPoolExecutor) -> None:
        headers = {"Cache-Control": "no-store"}
        outcomes = self.ask(threads, lambda request, n: HttpResponse(str(n), headers=headers))
        assert {one.content for one in outcomes} == {*map(str.encode, "12345")}

    def test_what_read_who_asks(self, threads: ThreadPoolExecutor) -> None:
        outcomes = self.ask(threads, lambda request, n: {"name": request.user.username})
        names = [body(one)["name"] for one in outcomes]
        assert names == [f"user{number}" for number in range(5)]

    def test_errors_of_what_read_who_asks(self, threads: ThreadPoolExecutor) -> None:
        def make(request: Any, number: int) -> Any:
            raise PermissionError(request.user.username)

        outcomes = self.ask(threads, make)
        assert [str(one) for one in outcomes] == [f"user{number}" for number in range(5)]

    def test_users_whom_vary_tells_apart(self, threads: ThreadPoolExecutor) -> None:
        barrier = threading.Barrier(5, timeout=PATIENCE)

        @cached_status(60, vary=lambda request: request.user.pk)
        def view(request: Any) -> dict[str, Any]:
            barrier.wait()  # all five are inside at once
            return {"name": request.user.username}

        def call(number: int) -> Any:
            request: Any = RequestFactory().get("/")
            request.user = get_user_model()(username=f"user{number}", pk=number)
            return body(view(request))["name"]

        calls = [threads.submit(call, number) for number in range(5)]
        assert [one.result(PATIENCE) for one in calls] == [f"user{n}" for n in range(5)]

    def test_what_depends_on_a_header_that_nobody_knew_of(
        self, threads: ThreadPoolExecutor
    ) -> None:
        meeting = Meeting(1)

        @cached_status(60, vary=None)
        def view(request: Any) -> HttpResponse:
            meeting()
            return HttpResponse(request.headers["Accept"], headers={"Vary": "Accept"})

        meeting.view = view

        def call(accept: str) -> Any:
            return view(RequestFactory().get("/", headers={"accept": accept})).content

        calls = [threads.submit(call, accept) for accept in ("text/a", "text/b")]
        assert [one.result(PATIENCE) for one in calls] == [b"text/a", b"text/b"]

    def test_but_those_who_send_the_same_header_share_the_run_that_tells_of_it(
        self, threads: ThreadPoolExecutor
    ) -> None:
        load = Load(1)

        @cached_status(60, vary=None)
        def view(request: Any) -> JsonResponse:
            return JsonResponse({"a": load()}, headers={"Vary": "Accept"})

        calls = [threads.submit(view, RequestFactory().get("/")) for _ in range(50)]
        until(lambda: joined(view) == 49)
        load.may_end.set()
        assert {call.result(PATIENCE).status_code for call in calls} == {200}
        assert load.calls == 1

    async def test_on_the_event_loop_as_well(self, rf: RequestFactory) -> None:
        load = Load(1)

        @cached_status(60, vary=None)
        async def view(request: Any) -> JsonResponse:
            return JsonResponse({"a": await load.acall()}, headers={"Vary": "Accept"})

        tasks = [asyncio.create_task(view(rf.get("/"))) for _ in range(50)]
        await auntil(lambda: joined(view) == 49)
        load.may_end.set()
        await asyncio.gather(*tasks)
        assert load.calls == 1


def test_a_run_does_not_wait_for_itself(rf: RequestFactory) -> None:
    @cached_status(60, vary=None)
    def view(request: Any) -> dict[str, Any]:
        if site.run("view") == 1:
            return {"inner": body(view(request))["inner"]}
        return {"inner": "here"}

    assert body(view(rf.get("/")))["inner"] == "here"
