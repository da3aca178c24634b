"""A site with the strip on its pages, and what its server has seen and said."""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.backends import BaseBackend
from django.contrib.auth.models import User
from django.contrib.sessions.backends.signed_cookies import SessionStore
from django.contrib.staticfiles.handlers import StaticFilesHandler
from django.core.handlers.wsgi import WSGIHandler
from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler
from django.http import HttpRequest, HttpResponse
from django.template import RequestContext, Template
from django.urls import include, path

from redis_optimizer.embedded import HOST
from tests.health import switches

SETTINGS = {
    "ALLOWED_HOSTS": [HOST],
    "AUTHENTICATION_BACKENDS": ["tests.browser.site.Backend"],
    "MIDDLEWARE": [
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
    ],
    "REDIS_OPTIMIZER": switches.SETTINGS,
    "ROOT_URLCONF": "tests.browser.site",
    # Neither sessions nor users are in a database: the server's threads need none.
    "SESSION_ENGINE": "django.contrib.sessions.backends.signed_cookies",
    "STATIC_URL": "/static/",
    "TEMPLATES": [
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "APP_DIRS": True,
            "OPTIONS": {"context_processors": ["django.template.context_processors.request"]},
        }
    ],
}
POLICY = "default-src 'self'"
PAGE = """\
{% load redis_optimizer %}<!DOCTYPE html>
<html lang="en"{% if theme %} data-theme="{{ theme }}"{% endif %}>
<head><meta charset="utf-8"><title>A page</title></head>
<body><main><h1>A page</h1>{% for _ in strips %}{% health_strip %}{% endfor %}</main></body>
</html>"""


class Backend(BaseBackend):
    """Knows one user, who is staff."""

    def get_user(self, user_id: int) -> User:
        return User(pk=user_id, username="staff", is_staff=True, password="none")


def staff_cookie() -> dict[str, str]:
    """Return the cookie of a session of that user, as a browser's context takes it."""
    session = SessionStore()
    session[SESSION_KEY] = "1"
    session[BACKEND_SESSION_KEY] = "tests.browser.site.Backend"
    session[HASH_SESSION_KEY] = Backend().get_user(1).get_session_auth_hash()
    session.save()
    assert session.session_key
    return {"name": "sessionid", "value": session.session_key, "domain": HOST, "path": "/"}


def page(request: HttpRequest) -> HttpResponse:
    """Show as many strips as `?strips=` says."""
    context = {
        "strips": range(int(request.GET.get("strips", 1))),
        "theme": request.GET.get("theme"),
    }
    return HttpResponse(Template(PAGE).render(RequestContext(request, context)))


def inline(request: HttpRequest) -> HttpResponse:
    """Break the policy."""
    return HttpResponse("<!DOCTYPE html><title>Bad</title><script>window.broken = 1</script>")


urlpatterns = [
    path("", page),
    path("inline/", inline),
    path("favicon.ico", lambda request: HttpResponse(status=204)),
    path("", include("redis_optimizer.urls")),
]


class Exchange(NamedTuple):
    """A request for the verdict, and how it was answered."""

    if_none_match: str | None
    status: str


@dataclass
class Site:
    """A site that is being served.

    Attributes:
        url: Of its page.
        exchanges: The requests of `/health/` so far.
        age: Seconds that its answers claim as their age; None: what is true.
        is_down: Something in front of it answers in its place, that it is not there.
    """

    url: str = ""
    exchanges: list[Exchange] = field(default_factory=list)
    age: int | None = None
    is_down: bool = False

    def serve(self, application: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
        """Return the application with a policy for its pages and notes of what was asked."""

        def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
            asks_health = environ["PATH_INFO"] == "/health/"

            def start(status: str, headers: list[tuple[str, str]], *args: Any) -> Any:
                if asks_health:
                    known = environ.get("HTTP_IF_NONE_MATCH")
                    self.exchanges.append(Exchange(known, status))
                    if self.age is not None:
                        headers = [pair for pair in headers if pair[0] != "Age"]
                        headers.append(("Age", str(self.age)))
                return start_response(
                    status, [*headers, ("Content-Security-Policy", POLICY)], *args
                )

            if asks_health and self.is_down:
                start("502 Bad Gateway", [("Content-Type", "text/html")])
                return [b"<h1>502 Bad Gateway</h1>"]
            return application(environ, start)

        return answer


class QuietHandler(WSGIRequestHandler):
    """Writes no access log."""

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def serving() -> Iterator[Site]:
    """Serve the site, in threads, with the settings in force."""
    site = Site()
    with ThreadedWSGIServer((HOST, 0), QuietHandler) as server:
        server.set_app(site.serve(StaticFilesHandler(WSGIHandler())))
        site.url = f"http://{HOST}:{server.server_port}/"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield site
        finally:
            server.shutdown()
            thread.join()
