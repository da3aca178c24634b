"""The user's settings on every request, and the answering process on every response."""

import os
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.utils.functional import SimpleLazyObject

from . import readings
from .models import UserSettings

View = Callable[[HttpRequest], HttpResponse]


class UserSettingsMiddleware:
    """Give views and templates `request.user_settings`, read at most once and only when used."""

    def __init__(self, get_response: View) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        request.user_settings = SimpleLazyObject(lambda: settings_of(request))
        return self.get_response(request)


def settings_of(request: HttpRequest) -> readings.Settings:
    """Return the settings of the user who asks, or the defaults for a visitor."""
    if request.user.is_authenticated:
        return readings.user_settings(request.user.pk)
    return readings.as_settings(UserSettings())


class ServedByMiddleware:
    """Add `X-Served-By: <process id>`, so that a client can tell the processes of the site apart.

    Good for a demo, where the traffic driver checks that every process shows what was written; a
    site on the internet would not publish its process ids.
    """

    def __init__(self, get_response: View) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        response.headers["X-Served-By"] = str(os.getpid())
        return response
