"""``live/``: says that the process serves requests, before anything else could say otherwise."""

from typing import Final
from urllib.parse import unquote

from django.core.signals import setting_changed
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.urls import NoReverseMatch, get_script_prefix, reverse

__all__ = ["answer", "is_live"]

ROUTE: Final = "redis_optimizer:live"
BODY: Final = b'{"status": "ok"}'
METHODS: Final = ("GET", "HEAD")

_UNKNOWN: Final = ""  # no path is empty
_path: str | None = _UNKNOWN


def is_live(request: HttpRequest) -> bool:
    """Tell whether a request is for ``live/``: every request is asked, so this costs nothing."""
    path = _path if _path is not _UNKNOWN else _find_path()
    return request.path_info == path


def answer(request: HttpRequest) -> HttpResponse:
    """Answer ``live/``. Touches nothing: no host name, cookie, server or file."""
    response = (
        HttpResponse(BODY, content_type="application/json")
        if request.method in METHODS
        else HttpResponseNotAllowed(METHODS)
    )
    response["Cache-Control"] = "no-store"
    # The middleware that would set it comes after us.
    response["Content-Length"] = str(len(response.content))
    return response


def _find_path() -> str | None:
    """Return where the site has ``live/``; None when it has none, or cannot tell yet."""
    global _path
    try:
        # Below the script prefix, as path_info is: servers may mount one process twice.
        _path = unquote(reverse(ROUTE)[len(get_script_prefix()) - 1 :])
    except NoReverseMatch:
        _path = None
    except Exception:
        return None  # a URLconf that cannot be imported: the request itself will say so
    return _path


def _forget(*, setting: str, **kwargs: object) -> None:
    global _path
    if setting in ("ROOT_URLCONF", "FORCE_SCRIPT_NAME"):
        _path = _UNKNOWN


setting_changed.connect(_forget, dispatch_uid="redis_optimizer.middleware.live")
