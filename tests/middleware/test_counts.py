"""The middleware counts the requests of each view."""

import asyncio
from typing import Any

import pytest
from django.test import AsyncClient, Client, RequestFactory

from redis_optimizer.middleware import RedisOptimizerMiddleware
from redis_optimizer.stats.views import counter


def test_by_the_name_of_the_route_or_else_of_the_view(client: Client) -> None:
    for path in ("/", "/named/", "/named/", "/moved/", "/no/such/page/"):
        client.get(path)
    counts = counter.snapshot()
    assert {name: view["requests"] for name, view in counts.items()} == {
        "tests.middleware.site.plain": 1,
        "named": 2,
        "tests.middleware.site.moved": 1,
        "(none)": 1,
    }
    assert counts["named"]["responses"] == {"2xx": 2, "3xx": 0, "4xx": 0, "5xx": 0}
    assert counts["tests.middleware.site.moved"]["responses"]["3xx"] == 1
    assert counts["(none)"]["responses"]["4xx"] == 1
    assert 0 < counts["named"]["seconds"] < 60


async def test_of_asynchronous_sites_too(async_client: AsyncClient) -> None:
    await async_client.get("/async/")
    assert counter.snapshot()["tests.middleware.site.aplain"]["responses"]["2xx"] == 1


def test_exceptions_that_became_a_page_are_counted() -> None:
    client = Client(raise_request_exception=False)
    assert client.get("/fails/").status_code == 500
    view = counter.snapshot()["fails"]
    assert (view["requests"], view["exceptions"], view["responses"]["5xx"]) == (1, 1, 1)


async def test_so_they_are_of_asynchronous_sites() -> None:
    client = AsyncClient(raise_request_exception=False)
    assert (await client.get("/fails/")).status_code == 500
    assert counter.snapshot()["fails"]["exceptions"] == 1


def test_so_is_one_that_comes_through(client: Client, settings: Any) -> None:
    settings.DEBUG_PROPAGATE_EXCEPTIONS = True
    with pytest.raises(LookupError):
        client.get("/fails/")
    view = counter.snapshot()["fails"]
    assert (view["requests"], view["exceptions"], view["responses"]["5xx"]) == (1, 1, 0)


async def test_a_request_whose_client_went_away_is_counted_without_a_response(
    rf: RequestFactory,
) -> None:
    async def view(request: Any) -> Any:
        await asyncio.Event().wait()

    async def serve() -> None:
        await RedisOptimizerMiddleware(view)(rf.get("/"))  # type: ignore[misc]

    serving = asyncio.create_task(serve())
    await asyncio.sleep(0)
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving
    view_counts = counter.snapshot()["(none)"]
    assert (view_counts["requests"], view_counts["exceptions"]) == (1, 0)
    assert sum(view_counts["responses"].values()) == 0


def test_what_was_measured_is_counted(client: Client) -> None:
    client.cookies["sessionid"] = "of-somebody"
    client.get("/reads/key/")
    view = counter.snapshot()["reads"]
    assert (view["measured"], view["hits"], view["trips"]) == (1, 0, 1)


def test_it_can_be_switched_off(client: Client, settings: Any) -> None:
    settings.REDIS_OPTIMIZER = {"ENABLED": False}
    client.get("/")
    assert counter.snapshot() == {}
