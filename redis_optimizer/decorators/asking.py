"""What of a request decides which response it gets."""

import inspect
from collections.abc import Hashable, Iterable, Sequence
from typing import Any

from django.http import HttpRequest
from django.utils import timezone, translation

__all__ = ["check_vary", "header_values", "key_size", "noting", "request_key", "wants_refresh"]

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


def key_size(request: HttpRequest) -> int:
    """Return how many bytes the texts of a request's key take, about."""
    return len(request.path) + len(request.META.get("QUERY_STRING", ""))


def header_values(request: HttpRequest, names: Iterable[str]) -> Key:
    """Return request headers, named in lower case, with their values."""
    meta = request.META
    return tuple([(name, meta.get(f"HTTP_{name.upper().replace('-', '_')}")) for name in names])


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
