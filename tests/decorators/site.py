"""A site of views that are polled."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, JsonResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.urls import path
from django.utils import translation
from django.views import View
from django.views.decorators.csrf import csrf_exempt

from redis_optimizer.decorators import cached_health, cached_status

TEMPLATES = {
    "plain.html": "run {{ run }}",
    "token.html": "{% csrf_token %}",
    "name.html": "{{ user.username }}",
}

runs: Counter[str] = Counter()
"""How often each view ran."""


def run(name: str) -> int:
    runs[name] += 1
    return runs[name]


@cached_status(60, vary=None, params=("page", "tag"))
def status(request: HttpRequest) -> dict[str, Any]:
    return {"run": run("status"), "language": translation.get_language()}


@cached_status(60, vary=None)
async def astatus(request: HttpRequest) -> dict[str, Any]:
    await asyncio.sleep(0)
    return {"run": run("astatus")}


@cached_status(60, vary=None)
class Status(View):
    def get(self, request: HttpRequest, **kwargs: Any) -> dict[str, Any]:
        return {"run": run("Status"), **kwargs}

    def post(self, request: HttpRequest, **kwargs: Any) -> dict[str, Any]:
        return {"run": run("Status.post")}


class OtherStatus(Status):
    def get(self, request: HttpRequest, **kwargs: Any) -> dict[str, Any]:
        return {"other": run("OtherStatus")}


@cached_status(60, vary=None)
class AStatus(View):
    async def get(self, request: HttpRequest) -> JsonResponse:
        await asyncio.sleep(0)
        return JsonResponse({"run": run("AStatus")})


@csrf_exempt
@login_not_required
@cached_health
def health(request: Any) -> dict[str, Any]:
    if request.user.is_active and request.user.is_staff:
        return {"run": run("health"), "detail": "host db1"}
    return {"run": run("health")}


@cached_health
async def ahealth(request: Any) -> JsonResponse:
    user = await request.auser()
    return JsonResponse({"run": run("ahealth"), "staff": user.is_staff})


@cached_health
def greeting(request: Any) -> dict[str, Any]:
    return {"run": run("greeting"), "hello": request.user.get_username()}


@cached_health
def basket(request: Any) -> dict[str, Any]:
    return {"run": run("basket"), "items": request.session.get("items", 0)}


@cached_status(60, vary=None)
def whoami(request: Any) -> dict[str, Any]:
    return {"run": run("whoami"), "name": request.user.get_username()}


@cached_status(60, vary=None)
async def awhoami(request: Any) -> dict[str, Any]:
    return {"run": run("awhoami"), "name": (await request.auser()).get_username()}


@cached_status(60, vary=None)
def visits(request: Any) -> dict[str, Any]:
    return {"run": run("visits"), "count": request.session.get("count", 0)}


@cached_status(60, vary=lambda request: request.GET.get("org"))
def counting(request: Any) -> dict[str, Any]:
    request.session["count"] = run("counting")
    return {"count": request.session["count"]}


@cached_status(60, vary=lambda request: request.user.pk)
def mine(request: Any) -> dict[str, Any]:
    return {"run": run("mine"), "name": request.user.get_username()}


@cached_status(60, vary=None)
def page(request: HttpRequest, name: str) -> HttpResponseBase:
    return TemplateResponse(request, f"{name}.html", {"run": run(f"page.{name}")})


@cached_status(60, vary=None)
async def apage(request: HttpRequest) -> HttpResponseBase:
    return TemplateResponse(request, "plain.html", {"run": run("apage")})


@cached_status(60, vary=None)
def special(request: HttpRequest, kind: str) -> HttpResponseBase:
    number = run(kind)
    if kind == "stream":
        return StreamingHttpResponse([f"run {number}".encode()])
    response = JsonResponse({"run": number})
    if kind == "cookie":
        response.set_cookie("seen", str(number))
    elif kind in ("no-store", "private", "public"):
        response.headers["Cache-Control"] = f"{kind}, max-age=30"
    elif kind == "accept":
        response.headers["Vary"] = "Accept"
        response.content = b'{"accept": "%b"}' % request.headers.get("Accept", "").encode()
    elif kind in ("*", "Cookie"):
        response.headers["Vary"] = kind
    else:
        response.status_code = int(kind)
    return response


urlpatterns = [
    path("status/", status),
    path("astatus/", astatus),
    path("Status/", Status.as_view()),
    path("Status/<int:number>/", Status.as_view()),
    path("OtherStatus/", OtherStatus.as_view()),
    path("AStatus/", AStatus.as_view()),
    path("health/", health),
    path("ahealth/", ahealth),
    path("greeting/", greeting),
    path("basket/", basket),
    path("whoami/", whoami),
    path("awhoami/", awhoami),
    path("visits/", visits),
    path("counting/", counting),
    path("mine/", mine),
    path("page/<str:name>/", page),
    path("apage/", apage),
    path("special/<str:kind>/", special),
]
