"""A response in the form that it is kept in, and what each caller is sent of it."""

import json
from collections.abc import Iterable
from hashlib import blake2b
from http.client import responses
from time import perf_counter
from typing import Any, Final

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.cache import get_conditional_response, patch_vary_headers
from django.utils.http import parse_http_date_safe

from redis_optimizer.core.kept import State
from redis_optimizer.internals import marks_of

__all__ = ["CACHE_CONTROL", "OURS", "Answer", "stamp"]

OURS: Final = ("cached", "age", "response_time_ms")
"""Names in a JSON object that say how it came about. A view's own values for them are left out."""

CACHE_CONTROL: Final = "private, no-cache"
"""Where a view does not say: the browser may keep the response, and asks whether it is current."""

OVERHEAD: Final = 1_500
"""Bytes that an answer takes besides its texts: the objects of it and of its key."""


class Answer:
    """A response that any number of callers may get.

    Args:
        response: What the view returned, rendered.
        trust: What its endpoint held when the view began: of that time it tells.
        vary: Request headers that it depends on, besides those that it names itself.
        key_size: Bytes that the texts in its key take.
    """

    __slots__ = (
        "_body",
        "_etag",
        "_headers",
        "_is_object",
        "_marks",
        "_modified",
        "_reason",
        "size",
        "status",
        "trust",
    )

    def __init__(
        self,
        response: HttpResponse,
        trust: object,
        vary: Iterable[str] = (),
        key_size: int = 0,
    ) -> None:
        self.trust = trust
        self.status = response.status_code
        reason = response.reason_phrase
        self._reason = None if reason == responses.get(self.status) else reason
        response.headers.setdefault("Cache-Control", CACHE_CONTROL)
        if names := list(vary):
            patch_vary_headers(response, names)
        body = response.content
        values = _object(response)
        self._is_object = values is not None
        if values is not None:
            body = _opened(body, values, OURS)
            # Seen from outside the body now differs each time.
            _weaken_etag(response)
            response.headers.pop("Content-Length")
        if self.is_good and "ETag" not in response.headers:
            digest = blake2b(body, digest_size=16)
            digest.update(response.headers.get("Content-Type", "").encode())
            response.headers["ETag"] = f'W/"{digest.hexdigest()}"'
        self._body = body
        self._headers = dict(response.headers.items())
        self._marks = marks_of(response)
        self._etag = response.headers.get("ETag")
        modified = response.headers.get("Last-Modified")
        self._modified = parse_http_date_safe(modified) if modified else None
        headers = sum(len(name) + len(value) for name, value in self._headers.items())
        self.size = len(body) + headers + key_size + OVERHEAD

    @property
    def is_good(self) -> bool:
        """True for a response that says that all is well."""
        return 200 <= self.status < 300

    def respond(
        self, request: HttpRequest, state: State, age: float, started: float
    ) -> HttpResponseBase:
        """Return a response of the caller's own.

        Args:
            request: The caller's.
            state: Where the answer comes from.
            age: Seconds since it was made.
            started: When the call began, as `time.perf_counter` has it.
        """
        took = (perf_counter() - started) * 1000
        headers = self._headers | {
            "X-Cache": state.value,
            "Age": str(int(age)),
            "X-Response-Time": f"{took:.1f}",
        }
        meta = request.META
        if self.is_good and ("HTTP_IF_NONE_MATCH" in meta or "HTTP_IF_MODIFIED_SINCE" in meta):
            response = HttpResponse(headers=headers, status=self.status)
            conditional = get_conditional_response(request, self._etag, self._modified, response)
            if conditional is not None and conditional is not response:
                for name in ("X-Cache", "Age", "X-Response-Time"):
                    conditional.headers[name] = headers[name]
                return self._marked(conditional)
        body = self._body
        if self._is_object:
            if state is State.STALE:
                body = _opened(body + b"}", json.loads(body + b"}"), ("stale",))
            body += (b"" if body == b"{" else b", ") + _ours(state, age, took) + b"}"
        return self._marked(
            HttpResponse(body, headers=headers, status=self.status, reason=self._reason)
        )

    def _marked(self, response: HttpResponseBase) -> HttpResponseBase:
        vars(response).update(self._marks)
        return response


def stamp(response: HttpResponseBase, state: str, started: float) -> None:
    """Say in a response that is its caller's alone how it came about.

    Args:
        response: What the view returned.
        state: Where it comes from.
        started: When the call began, as `time.perf_counter` has it.
    """
    took = (perf_counter() - started) * 1000
    response.headers["X-Cache"] = state
    response.headers["Age"] = "0"
    response.headers["X-Response-Time"] = f"{took:.1f}"
    if isinstance(response, HttpResponse) and getattr(response, "is_rendered", True):
        values = _object(response)
        if values is not None:
            body = _opened(response.content, values, OURS)
            body += (b"" if body == b"{" else b", ") + _ours(state, 0.0, took) + b"}"
            response.content = body
            _weaken_etag(response)
            if "Content-Length" in response.headers:
                response.headers["Content-Length"] = str(len(body))


def _ours(state: str, age: float, took: float) -> bytes:
    stale = ', "stale": true' if state == State.STALE else ""
    is_cached = "true" if state in (State.HIT, State.STALE) else "false"
    text = f'"cached": {is_cached}, "age": {age:.1f}, "response_time_ms": {took:.1f}{stale}'
    return text.encode()


def _object(response: HttpResponse) -> dict[str, Any] | None:
    """Return the JSON object that a response consists of, if it does."""
    kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    is_json = kind == "application/json" or kind.endswith("+json")
    if not is_json or "Content-Encoding" in response.headers:
        return None
    body = response.content
    if not body.lstrip().startswith(b"{"):
        return None
    try:
        # Not `detect_encoding`: what is put into it is ASCII, which UTF-16 is not.
        values = json.loads(body.decode("utf-8"))
    except ValueError:
        return None
    return values if isinstance(values, dict) else None


def _opened(body: bytes, values: dict[str, Any], names: Iterable[str]) -> bytes:
    """Return a JSON object without its closing brace and without some of its names."""
    if any(name in values for name in names):
        body = json.dumps({name: values[name] for name in values if name not in names}).encode()
    return body.strip()[:-1].rstrip()


def _weaken_etag(response: HttpResponseBase) -> None:
    etag = response.headers.get("ETag", "")
    if etag.startswith('"'):
        response.headers["ETag"] = f"W/{etag}"
