"""What every page of the dashboard shows."""

from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from .health import health


def dashboard(request: HttpRequest) -> dict[str, object]:
    """Return the system's health, which is read only when a template asks for it."""
    return {"system": SimpleLazyObject(lambda: health()[0])}
