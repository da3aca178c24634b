"""What of a request decides which response it gets."""

import inspect
from collections.abc import Hashable, Sequence
from typing import Any

from django.http import HttpRequest
from django.utils import timezone, translation

__all__ = [
    "check_vary",
    "hashable",
    "key_size",
    "noting",
    "request_key",
    "wants_refresh",
]

Key = tuple[Hashable, ...]


def request_key(request: HttpRequest, params: Sequence[str]) -> Key:
    """Return what tells a request from others for the same view.

    Args:
        request: The request.
        params: Query parameters that count, with all their values; the others do not.

    Raises:
        DisallowedHost: as `HttpRequest.get_host` does.
    """
    return (
        request.method,
        request.scheme,
        request.get_host(),
        request.path,
        translation.get_language(),
        timezone.get_current_timezone(),
        tuple([tuple(request.GET.getlist(name)) for name in params]) if params else (),
    )


def hashable(given: Key, name: str) -> Key:
    """Return what a view is called with besides the request.

    Args:
        given: That.
        name: Of the view.

    Raises:
        TypeError: it cannot be part of a key.
    """
    try:
        hash(given)
    except TypeError as error:
        raise TypeError(
            f"{name} must be called with what is hashable, such as a tuple instead of a list, "
            f"not with {given!r:.100}."
        ) from error
    return given


def key_size(request: HttpRequest) -> int:
    """Return how many bytes the texts of a request's key take, about."""
    texts = (request.META.get("HTTP_HOST", ""), request.path, request.META.get("QUERY_STRING", ""))
    return sum(map(len, texts))


def wants_refresh(request: HttpRequest) -> bool:
    """Tell whether a request asks for ``?refresh=1``; staff may."""
    # To parse the query takes longer than all the rest.
    query = request.META.get("QUERY_STRING", "")
    return "refresh=1" in query and request.GET.get("refresh") == "1"


def check_vary(value: Any, name: str) -> Any:
    """Return what a ``vary`` returned, so that it compares equal to what is truly the same.

    Raises:
        TypeError: it cannot be part of a key.
    """
    if inspect.isawaitable(value):
        if inspect.iscoroutine(value):
            value.close()
        raise TypeError(f"The vary of {name} must not be a coroutine function: the view is not.")
    try:
        hash(value)
    except TypeError as error:
        raise TypeError(
            f"The vary of {name} must return something hashable, such as an id or a tuple, "
            f"not {value!r:.100}."
        ) from error
    return type(value), value  # 1 == True, but a user of this id is not a flag


def noting(error: Exception, name: str) -> None:
    """Note in an error that it is the ``vary`` of a view that raised it."""
    error.add_note(f"It was raised by the vary of {name}.")
