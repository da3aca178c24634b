"""A verdict as an HTTP response: its status, its headers, and a 304 where that is enough."""

from math import ceil

from django.http import HttpRequest, HttpResponse, HttpResponseNotModified
from django.utils.cache import patch_vary_headers
from django.utils.http import parse_etags

from redis_optimizer.health.audience import Audience
from redis_optimizer.health.findings import Verdict
from redis_optimizer.health.formats import JSON, Format, choose
from redis_optimizer.health.report import Status

__all__ = ["broken", "respond"]


def respond(request: HttpRequest, verdict: Verdict, audience: Audience) -> HttpResponse:
    """Return the response that tells a verdict.

    A good one is 200 and may be kept by the browser, which asks each time whether it still holds; a
    bad one is 503 and kept nowhere.

    Args:
        request: Says which format is wanted, and what the caller has already.
        verdict: What is told.
        audience: To whom.
    """
    form = choose(request)
    fails = verdict.report.status is Status.FAILING
    etag = _etag(verdict, audience, form)
    response: HttpResponse
    if not fails and _has(request, etag):
        response = HttpResponseNotModified()
    else:
        response = HttpResponse(
            form.render(verdict, audience),
            content_type=form.content_type,
            status=503 if fails and form.shows_failure else 200,
        )
    if fails:
        response["Cache-Control"] = "no-store"
    else:
        response["Cache-Control"] = "private, no-cache"
        response["ETag"] = etag
    if response.status_code == 503:
        # A new run is possible when this verdict is no longer kept.
        response["Retry-After"] = str(max(1, ceil(verdict.kept_for)))
    response["Age"] = str(int(verdict.age))
    response["X-Cache"] = "hit" if verdict.is_cached else "miss" if verdict.kept_for else "off"
    patch_vary_headers(response, ("Accept", "Cookie"))
    return response


def broken() -> HttpResponse:
    """Return the response for a caller to whom nothing can be told, because telling failed."""
    response = HttpResponse('{"status": "failing"}', content_type=JSON.content_type, status=503)
    response["Cache-Control"] = "no-store"
    response["Retry-After"] = "1"
    patch_vary_headers(response, ("Accept", "Cookie"))
    return response


def _etag(verdict: Verdict, audience: Audience, form: Format) -> str:
    """Return a weak ETag: responses that share it differ in their age at most."""
    report = verdict.report
    # Everybody is told the status alone; staff, what this one run has seen.
    run = f"-{report.checked_at:.6f}" if audience is Audience.STAFF else ""
    return f'W/"{form.name}-{report.status}{run}"'


def _has(request: HttpRequest, etag: str) -> bool:
    """Tell whether the caller has what an ETag stands for, by the weak comparison of RFC 9110."""
    given = parse_etags(request.headers.get("If-None-Match", ""))
    return given == ["*"] or etag.removeprefix("W/") in {one.removeprefix("W/") for one in given}
