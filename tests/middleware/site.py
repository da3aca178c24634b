"""The views of a small site, and how a test serves them."""

from collections.abc import Callable
from io import BytesIO
from typing import Any

from asgiref.testing import ApplicationCommunicator
from django.core.cache import cache
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.test import RequestFactory
from django.urls import include, path

from redis_optimizer.stats.costs import current


def plain(request: HttpRequest) -> HttpResponse:
    return HttpResponse("plain")


answer: Callable[[HttpRequest], HttpResponseBase] = plain
"""What `given` and `agiven` respond with; tests set it."""


async def aplain(request: HttpRequest) -> HttpResponse:
    return HttpResponse("plain")


def reads(request: HttpRequest, key: str) -> HttpResponse:
    return HttpResponse(str(cache.get(key)))


async def areads(request: HttpRequest, key: str) -> HttpResponse:
    return HttpResponse(str(await cache.aget(key)))


def moved(request: HttpRequest) -> HttpResponse:
    return HttpResponseRedirect("/")


def fails(request: HttpRequest) -> HttpResponse:
    raise LookupError


def user(request: HttpRequest) -> HttpResponse:
    return HttpResponse(str(request.user.is_authenticated))


def timed(request: HttpRequest) -> HttpResponse:
    return HttpResponse(headers={"X-Response-Time": "7.0", "Server-Timing": "db;dur=3"})


def checks(request: HttpRequest) -> HttpResponse:
    if (costs := current()) is not None:
        costs.add_checks(2, 0.0304)
    return HttpResponse()


def given(request: HttpRequest) -> HttpResponseBase:
    return answer(request)


async def agiven(request: HttpRequest) -> HttpResponseBase:
    return answer(request)


def reached(request: HttpRequest) -> HttpResponse:
    raise AssertionError("The middleware let it pass.")


urlpatterns = [
    path("", plain),
    path("named/", plain, name="named"),
    path("async/", aplain),
    path("reads/<key>/", reads, name="reads"),
    path("areads/<key>/", areads, name="areads"),
    path("moved/", moved),
    path("fails/", fails, name="fails"),
    path("user/", user),
    path("timed/", timed),
    path("checks/", checks),
    path("given/", given),
    path("agiven/", agiven),
    path("größe/", include(([path("live/", reached, name="live")], "redis_optimizer"))),
]


class Served:
    """What a WSGI server gets from Django."""

    def __init__(self, path: str, **environ: Any) -> None:
        request = {"REQUEST_METHOD": "GET", "PATH_INFO": path, "wsgi.input": BytesIO()}
        environ = {**RequestFactory()._base_environ(), **request, **environ}
        self.status = 0
        self.headers: dict[str, str] = {}
        self.response: Any = WSGIHandler()(environ, self._start)

    def _start(self, status: str, headers: list[tuple[str, str]]) -> None:
        self.status = int(status.split()[0])
        self.headers = dict(headers)


async def aserve(path: str) -> ApplicationCommunicator:
    """Send a request through ASGI; the test receives what comes of it."""
    communicator = ApplicationCommunicator(
        ASGIHandler(),
        {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "GET",
            "path": path,
            "query_string": b"",
            "headers": [(b"host", b"testserver")],
            "server": ("testserver", "80"),
        },
    )
    await communicator.send_input({"type": "http.request"})
    return communicator
