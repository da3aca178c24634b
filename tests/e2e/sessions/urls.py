"""The pages: log in, see who one is, change something, change the password, log out."""

from django.contrib.auth import authenticate, login, logout, update_session_auth_hash
from django.core.cache import caches
from django.http import HttpRequest, HttpResponse
from django.urls import path


def enter(request: HttpRequest) -> HttpResponse:
    login(request, authenticate(request, username="ada", password=request.GET["password"]))
    return HttpResponse("in")


def leave(request: HttpRequest) -> HttpResponse:
    logout(request)
    return HttpResponse("out")


def who(request: HttpRequest) -> HttpResponse:
    return HttpResponse(request.user.get_username() or "nobody")


def note(request: HttpRequest) -> HttpResponse:
    request.session["note"] = request.GET["note"]
    return HttpResponse("noted")


def noted(request: HttpRequest) -> HttpResponse:
    return HttpResponse(request.session.get("note", "nothing"))


def password(request: HttpRequest) -> HttpResponse:
    request.user.set_password(request.GET["new"])
    request.user.save()
    update_session_auth_hash(request, request.user)
    return HttpResponse("changed")


def deafen(request: HttpRequest) -> HttpResponse:
    """Let this process hear of no write, as when the network between drops what Redis tells."""
    caches["sessions"].tier.on_invalidated = lambda keys: None
    return HttpResponse("deaf")


urlpatterns = [
    path(f"{view.__name__}/", view) for view in (enter, leave, who, note, noted, password, deafen)
]
