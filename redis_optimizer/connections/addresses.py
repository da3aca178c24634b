"""URLs of Redis servers, as Celery's broker and result backend take them."""

from typing import Final
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit, urlunsplit

from django.core.exceptions import ImproperlyConfigured

__all__ = ["celery_url", "check_url", "is_sentinel", "is_socket", "split_url"]

SCHEMES: Final = ("redis", "rediss", "redis+socket", "sentinel", "unix")
CERTIFICATES: Final = {
    "required": "CERT_REQUIRED",
    "optional": "CERT_OPTIONAL",
    "none": "CERT_NONE",
}


def celery_url(url: str) -> str:
    """Return the URL in the form that Celery takes for the same server.

    ``rediss://`` gets ``ssl_cert_reqs=CERT_REQUIRED`` where it says nothing of certificates: kombu
    would not verify them, and Celery's result backend would refuse. ``unix://`` becomes
    ``redis+socket://``.

    Args:
        url: As Django's caches and redis-py take it, or as Celery does: several servers are
            separated by ``;``.

    Raises:
        ImproperlyConfigured: when it is not the URL of a Redis server, or its password is not
            quoted.
    """
    return ";".join(_server_url(server) for server in split_url(url))


def check_url(url: str) -> None:
    """Check that a URL can be read; redis-py would tell a part of the password instead.

    Raises:
        ImproperlyConfigured: when it is not the URL of a Redis server, or its password is not
            quoted. The message holds nothing of the password.
    """
    _scheme(url)
    _parts(url)


def split_url(url: str) -> list[str]:
    """Return the URL of each server of a broker."""
    _scheme(url)
    return url.rstrip(";").split(";")


def is_socket(url: str) -> bool:
    """Tell whether the server listens on a Unix socket."""
    return _scheme(url) in ("unix", "redis+socket")


def is_sentinel(url: str) -> bool:
    """Tell whether the URL names Sentinels."""
    return _scheme(url) == "sentinel"


def _server_url(url: str) -> str:
    scheme, parts = _scheme(url), _parts(url)
    if scheme == "rediss":
        return _with_certificates(parts)
    if scheme in ("unix", "redis+socket"):
        return _socket_url(parts)
    return url


def _scheme(url: object) -> str:
    if not isinstance(url, str):
        raise ImproperlyConfigured(f"The URL of a Redis server is a str, not {type(url).__name__}.")
    scheme, separator, _ = url.partition("://")
    if not separator or scheme not in SCHEMES:
        # The rest may hold a password.
        shown = f"{scheme}://..." if separator else "a text without ://"
        raise ImproperlyConfigured(
            f"{shown} is not the URL of a Redis server. Known are: "
            + ", ".join(f"{known}://" for known in SCHEMES)
        )
    return scheme


def _parts(url: str) -> SplitResult:
    unquoted = ImproperlyConfigured(
        f"{url.partition('://')[0]}://... cannot be read: quote the password, as "
        'urllib.parse.quote(password, safe="") does.'
    )
    try:
        parts = urlsplit(url)
    except ValueError:  # whose text may hold the password
        raise unquoted from None
    path = "" if is_socket(url) and not parts.netloc else parts.path  # a file may have any name
    if parts.fragment or "@" in path + parts.query:
        raise unquoted
    return parts


def _with_certificates(parts: SplitResult) -> str:
    query = dict(parse_qsl(parts.query))
    given = query.get("ssl_cert_reqs", "required")
    known = CERTIFICATES.get(given, given)
    if known not in CERTIFICATES.values():
        raise ImproperlyConfigured(
            f"ssl_cert_reqs must be {', '.join(CERTIFICATES)}, not {given!r}."
        )
    return urlunsplit(parts._replace(query=urlencode({**query, "ssl_cert_reqs": known})))


def _socket_url(parts: SplitResult) -> str:
    query = dict(parse_qsl(parts.query))
    database = query.pop("db", query.pop("virtual_host", "0"))
    if query:
        # Celery would hand it to redis-py as a text.
        raise ImproperlyConfigured(
            f"{parts.scheme}://...?{'&'.join(query)} cannot be passed on to Celery; only db can."
        )
    credentials = f"{parts.netloc}" if parts.netloc else ""
    return f"redis+socket://{credentials}{parts.path}?virtual_host={database}"
