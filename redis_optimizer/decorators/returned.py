"""What a view returned or raised, and whether it may be anybody else's."""

import inspect
from typing import Any, Final

from django.core.exceptions import BadRequest, PermissionDenied, SuspiciousOperation
from django.http import Http404, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase

from redis_optimizer.decorators.answer import OURS

__all__ = ["as_response", "is_failure", "is_own", "listed"]

PARTIAL: Final = frozenset({206, 412, 416})
"""Statuses, besides 304, with which a view answers the headers of one request."""

ANSWERS: Final = (Http404, PermissionDenied, BadRequest, SuspiciousOperation)
"""What a view raises to answer with 400, 403 or 404."""


def as_response(result: Any, name: str) -> HttpResponseBase:
    """Return the response that a view means.

    Args:
        result: What it returned.
        name: Of the view.

    Raises:
        TypeError: it returned neither a response nor a dict that can be one.
    """
    if isinstance(result, HttpResponseBase):
        return result
    if isinstance(result, dict):
        try:
            return JsonResponse({key: result[key] for key in result if key not in OURS})
        except (TypeError, ValueError) as error:
            error.add_note(f"It is about the dict that the view {name} returned.")
            raise
    if inspect.iscoroutine(result):
        result.close()
    raise TypeError(
        f"The view {name} must return a dict, a JsonResponse or an HttpResponse, "
        f"but it returned {result!r:.100}."
    )


def is_failure(error: Exception) -> bool:
    """Tell whether a view has failed that raised an error: otherwise that is its answer."""
    return not isinstance(error, ANSWERS)


def is_own(response: HttpResponse, varies: set[str], is_for_all: bool) -> bool:
    """Tell whether a response says by itself that it is for one request alone.

    Args:
        response: What the view returned.
        varies: Request headers that it depends on, by its Vary header, in lower case.
        is_for_all: The decorator was told that all get the same.
    """
    if response.cookies or "Set-Cookie" in response.headers or "*" in varies:
        return True
    # A redirect is not kept anyway; as the response that it is, it has its `url`.
    if response.status_code in PARTIAL or 300 <= response.status_code < 400:
        return True
    directives = {one.partition("=")[0] for one in listed(response, "Cache-Control")}
    if "no-store" in directives:
        return True
    return is_for_all and ("private" in directives or "cookie" in varies)


def listed(response: HttpResponseBase, header: str) -> set[str]:
    """Return what a header of a response lists, in lower case."""
    values = response.headers.get(header, "").lower().split(",")
    return {value.strip() for value in values if value.strip()}
