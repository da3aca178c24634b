"""The forms in which a verdict is told, and which of them a caller wants."""

from collections.abc import Callable
from typing import Final, NamedTuple

from django.http import HttpRequest

from redis_optimizer.health.audience import Audience
from redis_optimizer.health.findings import Verdict
from redis_optimizer.health.formats import draft, metrics, plain

__all__ = ["JSON", "Format", "choose"]


class Format(NamedTuple):
    """One form of a verdict.

    Args:
        name: Tells it from the others in an ETag.
        asked_as: The media types that a caller may accept for it.
        content_type: The one that it gets.
        render: Makes the body.
        shows_failure: The HTTP status of the response says that the site is failing. Not so for
            metrics: a scraper throws away what does not come with a 200.
    """

    name: str
    asked_as: tuple[str, ...]
    content_type: str
    render: Callable[[Verdict, Audience], str]
    shows_failure: bool = True


JSON: Final = Format("json", ("application/json",), "application/json", plain.render)

_OPENMETRICS: Final = "application/openmetrics-text"

_FORMATS: Final = (
    JSON,
    Format("draft", (draft.MEDIA_TYPE,), draft.MEDIA_TYPE, draft.render),
    Format(
        "openmetrics",
        (
            _OPENMETRICS,
            # Django compares all parameters; these are what Prometheus sends.
            f"{_OPENMETRICS}; version=1.0.0",
            f"{_OPENMETRICS}; version=1.0.0; escaping=allow-utf-8",
        ),
        f"{_OPENMETRICS}; version=1.0.0; charset=utf-8",
        metrics.render_openmetrics,
        shows_failure=False,
    ),
    Format(
        "text",
        ("text/plain", "text/plain; version=0.0.4"),
        "text/plain; version=0.0.4; charset=utf-8",
        metrics.render_text,
        shows_failure=False,
    ),
)
# In this order: whoever accepts several equally gets the first.
_BY_TYPE: Final = {asked: form for form in _FORMATS for asked in form.asked_as}
_TYPES: Final = list(_BY_TYPE)


def choose(request: HttpRequest) -> Format:
    """Return the format that the request's ``Accept`` header prefers; JSON where it names none."""
    accept = request.headers.get("Accept", "*/*")
    # What most callers send, and no reason to parse anything.
    if accept in ("*/*", JSON.content_type):
        return JSON
    return _BY_TYPE.get(request.get_preferred_type(_TYPES) or "", JSON)
