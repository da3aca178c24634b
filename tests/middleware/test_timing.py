"""Staff, and everybody with DEBUG, are told how long a request took and what it cost."""

import re
import threading
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.cache import cache, caches
from django.http import HttpResponse
from django.test import AsyncClient, Client, RequestFactory

from redis_optimizer.middleware import RedisOptimizerMiddleware
from redis_optimizer.stats.costs import Costs, current
from redis_optimizer.stats.views import counter

from .conftest import MIDDLEWARE

# Of the W3C's Server Timing: names and parameters are tokens, values tokens or quoted strings.
TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
METRIC = rf'{TOKEN}(?:;{TOKEN}=(?:{TOKEN}|"[^"\\]*"))*'
HEADERS = {"X-Response-Time", "Server-Timing"}


def costs(response: Any) -> dict[str, dict[str, str]]:
    """Return the parts of Server-Timing."""
    header = response["Server-Timing"]
    assert re.fullmatch(rf"{METRIC}(?:, {METRIC})*", header), header
    parts = [part.split(";") for part in header.split(", ")]
    return {name: dict(p.split("=", 1) for p in params) for name, *params in parts}


def shown(response: Any) -> set[str]:
    return HEADERS & set(response.headers)


@pytest.fixture
def debug(settings: Any) -> None:
    settings.DEBUG = True


@pytest.fixture
def tier() -> Any:
    """Return the tier of the default cache; it keeps what it reads."""
    tier = caches["default"].tier  # type: ignore[attr-defined]
    assert tier.wait_ready(10)
    return tier


# To whom


def test_nobody_else_is_told(client: Client) -> None:
    assert shown(client.get("/")) == set()
    client.cookies["sessionid"] = "of-nobody"
    assert shown(client.get("/")) == set()


@pytest.mark.usefixtures("debug")
def test_everybody_is_with_debug(client: Client) -> None:
    response = client.get("/")
    assert shown(response) == HEADERS
    assert costs(response).keys() == {"app"}
    assert response["X-Response-Time"] == costs(response)["app"]["dur"]


@pytest.mark.django_db
@pytest.mark.parametrize(("is_staff", "headers"), [(True, HEADERS), (False, set())])
def test_staff_is_where_the_view_asked_who_it_is(
    client: Client, settings: Any, is_staff: bool, headers: set[str]
) -> None:
    settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, "django.contrib.sessions"]
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
    settings.MIDDLEWARE = [
        MIDDLEWARE,
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
    ]
    client.force_login(User.objects.create_user("who", is_staff=is_staff))
    assert shown(client.get("/user/")) == headers


def test_nothing_is_asked_in_order_to_know(
    client: Client, django_assert_num_queries: Any, db: None
) -> None:
    client.cookies["sessionid"] = "of-somebody"
    with django_assert_num_queries(0):
        client.get("/")


@pytest.mark.usefixtures("debug")
def test_nobody_is_while_all_is_switched_off(client: Client, settings: Any) -> None:
    settings.REDIS_OPTIMIZER = {"ENABLED": False}
    assert shown(client.get("/")) == set()


# What


@pytest.mark.usefixtures("debug")
def test_what_the_view_says_of_itself_stays(client: Client) -> None:
    response = client.get("/timed/")
    assert response["X-Response-Time"] == "7.0"
    assert costs(response).keys() == {"db", "app"}


@pytest.mark.usefixtures("debug")
def test_checks_are_told(client: Client) -> None:
    assert costs(client.get("/checks/"))["checks"] == {"dur": "30.4", "desc": '"2 checks"'}


@pytest.mark.usefixtures("debug", "tier")
def test_a_read_of_redis_is_a_round_trip_and_the_next_a_hit(client: Client) -> None:
    first, second = (costs(client.get("/reads/key/")) for _ in range(2))
    assert first.keys() == {"app", "l2"}
    assert first["l2"]["desc"] == '"1 round trip"'
    assert float(first["l2"]["dur"]) <= float(first["app"]["dur"])
    assert second.keys() == {"app", "l1"}
    assert second["l1"] == {"desc": '"1 hit"'}


@pytest.mark.usefixtures("debug", "tier")
async def test_so_it_is_in_an_asynchronous_view(async_client: AsyncClient) -> None:
    first, second = [costs(await async_client.get("/areads/key/")) for _ in range(2)]
    assert first["l2"]["desc"] == '"1 round trip"'
    assert second["l1"]["desc"] == '"1 hit"'
    assert "l2" not in second


@pytest.mark.usefixtures("debug")
async def test_an_asynchronous_site_tells_it_of_ordinary_views_too(
    async_client: AsyncClient,
) -> None:
    assert "l2" in costs(await async_client.get("/reads/key/"))


# Of each request alone


@pytest.mark.usefixtures("debug", "tier")
def test_requests_side_by_side_do_not_mix(rf: RequestFactory) -> None:
    both = threading.Barrier(2, timeout=10)
    seen: dict[int, Any] = {}
    cache.set("key", 1)

    def view(request: Any) -> HttpResponse:
        count = int(request.GET["reads"])
        both.wait()
        for _ in range(count):
            cache.get("key")
            cache.ttl("key")  # type: ignore[attr-defined]
        both.wait()
        return HttpResponse()

    middleware: Any = RedisOptimizerMiddleware(view)

    def serve(count: int) -> None:
        cache.get("key")  # a hit or a trip of no request
        seen[count] = costs(middleware(rf.get("/", {"reads": count})))

    threads = [threading.Thread(target=serve, args=(count,)) for count in (200, 300)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for count, found in seen.items():
        reads = int(found["l1"]["desc"].strip('"').split()[0])
        trips = int(found["l2"]["desc"].strip('"').split()[0])
        assert reads + trips == 2 * count
    assert len(seen) == 2


@pytest.mark.usefixtures("debug")
def test_nothing_is_measured_between_two_requests(rf: RequestFactory) -> None:
    measured: list[Costs | None] = []

    def view(request: Any) -> HttpResponse:
        measured.append(current())
        return HttpResponse()

    middleware: Any = RedisOptimizerMiddleware(view)
    for _ in range(2):
        middleware(rf.get("/"))
        assert current() is None
    one, two = measured
    assert one is not None
    assert one is not two


@pytest.mark.usefixtures("debug")
def test_nor_after_one_that_failed(rf: RequestFactory) -> None:
    def view(request: Any) -> HttpResponse:
        raise LookupError

    with pytest.raises(LookupError):
        RedisOptimizerMiddleware(view)(rf.get("/"))
    assert current() is None
    store = caches["default"]._store  # type: ignore[attr-defined]
    assert store is caches["default"].tier.store  # type: ignore[attr-defined]


@pytest.mark.usefixtures("debug")
def test_a_request_inside_another_has_costs_of_its_own(client: Client, rf: RequestFactory) -> None:
    def view(request: Any) -> HttpResponse:
        inner = costs(client.get("/reads/key/"))
        assert inner["l2"]["desc"] == '"1 round trip"'
        cache.ttl("key")  # type: ignore[attr-defined]
        cache.ttl("key")  # type: ignore[attr-defined]
        return HttpResponse()

    response = RedisOptimizerMiddleware(view)(rf.get("/"))
    assert costs(response)["l2"]["desc"] == '"2 round trips"'


@pytest.mark.usefixtures("tier")
def test_a_request_that_nobody_may_see_is_not_measured(client: Client) -> None:
    client.get("/reads/key/")
    assert counter.snapshot()["reads"]["measured"] == 0
