"""Who asks: found out at no cost, and never by an error."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AnonymousUser
from django.contrib.auth.signals import user_logged_in, user_logged_out
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory, override_settings
from django.urls import path
from django.utils.functional import SimpleLazyObject

from redis_optimizer.health import audience as module
from redis_optimizer.health.audience import (
    KEPT_AT_MOST,
    Audience,
    Known,
    aaudience,
    audience,
    forget,
    is_staff_known,
    known,
)

BOSS = SimpleNamespace(is_active=True, is_staff=True)
GONE = SimpleNamespace(is_active=False, is_staff=True)
USER = SimpleNamespace(is_active=True, is_staff=False)


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """Yield the clock of what is remembered."""
    clock = SimpleNamespace(time=0.0)
    monkeypatch.setattr(known, "now", lambda: clock.time)
    known.clear()
    yield clock
    known.clear()


class Lookup:
    """A lookup of the user that counts, or fails."""

    def __init__(self, outcome: Any) -> None:
        self.outcome = outcome
        self.count = 0

    def __call__(self) -> Any:
        self.count += 1
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


def ask(lookup: Lookup, cookie: str | None = "cookie") -> Any:
    """Return a request as the middleware leaves it."""
    request: Any = RequestFactory().get("/")
    if cookie is not None:
        request.COOKIES[settings.SESSION_COOKIE_NAME] = cookie
    request.user = SimpleLazyObject(lookup)

    async def auser() -> Any:
        return lookup()

    request.auser = auser
    return request


@pytest.fixture(params=[False, True], ids=["sync", "async"])
def who(request: pytest.FixtureRequest) -> Any:
    """Return `audience`, or `aaudience` run to its end."""
    if not request.param:
        return audience
    return lambda request: asyncio.run(aaudience(request))


@pytest.mark.parametrize(
    ("user", "answer"),
    [
        (BOSS, Audience.STAFF),
        (GONE, Audience.PUBLIC),
        (USER, Audience.PUBLIC),
        (AnonymousUser(), Audience.PUBLIC),
    ],
)
def test_staff_are_those_who_are_staff_and_active(who: Any, user: Any, answer: Audience) -> None:
    assert who(ask(Lookup(user))) is answer


def test_without_a_session_it_is_the_public_and_nobody_is_looked_up(who: Any) -> None:
    lookup = Lookup(BOSS)
    for cookie in (None, ""):
        assert who(ask(lookup, cookie)) is Audience.PUBLIC
    assert lookup.count == 0
    assert len(known) == 0


def test_the_session_cookie_has_the_name_that_the_settings_say(who: Any) -> None:
    with override_settings(SESSION_COOKIE_NAME="other"):
        assert who(ask(Lookup(BOSS))) is Audience.STAFF
        request = ask(Lookup(BOSS), None)
        request.COOKIES["sessionid"] = "cookie"
        assert who(request) is Audience.PUBLIC


@pytest.mark.parametrize(("user", "seconds"), [(BOSS, 60), (USER, 600)])
def test_an_answer_is_remembered_for_a_time(
    who: Any, user: Any, seconds: int, clock: SimpleNamespace
) -> None:
    lookup = Lookup(user)
    first = who(ask(lookup))
    clock.time = seconds - 0.1
    assert who(ask(lookup)) is first
    assert lookup.count == 1
    clock.time = seconds
    assert who(ask(lookup)) is first
    assert lookup.count == 2


def test_each_session_has_its_own(who: Any) -> None:
    answers = [who(ask(Lookup(user), cookie)) for user, cookie in [(BOSS, "a"), (USER, "b")]]
    assert answers == [Audience.STAFF, Audience.PUBLIC]
    assert who(ask(Lookup(USER), "a")) is Audience.STAFF


def test_what_other_credentials_make_of_a_session_is_not_true_of_it_alone(who: Any) -> None:
    def asked(user: Any, credentials: str = "") -> Any:
        request = ask(Lookup(user))
        if credentials:
            request.META["HTTP_AUTHORIZATION"] = credentials
        return request

    assert who(asked(BOSS, "Bearer boss")) is Audience.STAFF
    assert who(asked(USER)) is Audience.PUBLIC
    assert is_staff_known(asked(None, "Bearer boss"))
    assert not is_staff_known(asked(None))
    assert who(asked(USER, "Bearer user")) is Audience.PUBLIC


def test_an_error_is_the_public_and_not_remembered(who: Any) -> None:
    """The session store is down, say: the next one may find it up again."""
    assert who(ask(Lookup(ConnectionError("no session store")))) is Audience.PUBLIC
    assert len(known) == 0
    assert who(ask(Lookup(BOSS))) is Audience.STAFF


def test_a_site_without_log_in_has_the_public_alone(who: Any) -> None:
    request: HttpRequest = RequestFactory().get("/")
    request.COOKIES[settings.SESSION_COOKIE_NAME] = "cookie"
    assert who(request) is Audience.PUBLIC


def test_what_is_remembered_is_bounded() -> None:
    lookup = Lookup(BOSS)
    for number in range(KEPT_AT_MOST + 10):
        audience(ask(lookup, str(number)))
    assert len(known) == KEPT_AT_MOST
    audience(ask(lookup, str(KEPT_AT_MOST + 9)))
    assert lookup.count == KEPT_AT_MOST + 10
    audience(ask(lookup, "0"))
    assert lookup.count == KEPT_AT_MOST + 11


def test_no_cookie_is_in_memory() -> None:
    audience(ask(Lookup(BOSS), "the-cookie"))
    assert "the-cookie" not in repr(vars(known))
    other = Known()
    assert other._digest("the-cookie") != known._digest("the-cookie")


def test_a_cookie_may_hold_anything(who: Any) -> None:
    assert who(ask(Lookup(BOSS), "\udcff\x00" * 3_000)) is Audience.STAFF


@pytest.mark.parametrize("signal", [user_logged_in, user_logged_out])
def test_log_in_and_log_out_forget(signal: Any) -> None:
    audience(ask(Lookup(BOSS)))
    request = ask(Lookup(USER))
    for sent in (request, None):
        # Robustly: a receiver of Django's own saves the user.
        signal.send_robust(sender=get_user_model(), request=sent, user=USER)
    assert audience(request) is Audience.PUBLIC


def test_forget() -> None:
    audience(ask(Lookup(BOSS)))
    forget("cookie")
    forget("cookie")
    forget(None)
    assert audience(ask(Lookup(USER))) is Audience.PUBLIC


class TestKnown:
    def test_nobody_is_looked_up(self) -> None:
        lookup = Lookup(BOSS)
        assert not is_staff_known(ask(lookup))
        assert not is_staff_known(ask(lookup, None))
        assert lookup.count == 0

    def test_what_is_remembered_is_known(self) -> None:
        audience(ask(Lookup(BOSS)))
        assert is_staff_known(ask(Lookup(BOSS)))
        audience(ask(Lookup(USER), "other"))
        assert not is_staff_known(ask(Lookup(USER), "other"))

    @pytest.mark.parametrize(("user", "is_known"), [(BOSS, True), (USER, False), (GONE, False)])
    def test_so_is_a_user_whom_the_view_has_loaded(self, user: Any, is_known: bool) -> None:
        for name in ("_cached_user", "_acached_user", "user"):
            request = ask(Lookup(None), None)
            setattr(request, name, user)
            assert is_staff_known(request) is is_known

    def test_who_was_loaded_says_more_than_what_is_remembered(self) -> None:
        audience(ask(Lookup(BOSS)))
        request = ask(Lookup(None))
        request.user = USER
        assert not is_staff_known(request)

    def test_no_cookie_is_parsed_where_nothing_is_remembered(self) -> None:
        request = RequestFactory().get("/", headers={"Cookie": "sessionid=cookie"})
        assert not is_staff_known(request)
        assert "COOKIES" not in vars(request)

    def test_no_error_leaves_it(self) -> None:
        request = ask(Lookup(None), None)
        request.user = object()
        assert not is_staff_known(request)


def test_a_forked_child_has_a_lock_of_its_own() -> None:
    lock = module.known._lock
    module.known.clear()  # what a child does
    assert module.known._lock is not lock


urlpatterns = [path("who", lambda request: HttpResponse(audience(request)))]


@pytest.mark.django_db
def test_a_real_log_in(client: Any) -> None:
    with override_settings(
        SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies",
        MIDDLEWARE=[
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
        ],
        ROOT_URLCONF="tests.health.test_audience",
    ):
        assert client.get("/who").content == b"public"
        client.force_login(get_user_model().objects.create_user("boss", is_staff=True))
        assert client.get("/who").content == b"staff"
        client.logout()
        assert client.get("/who").content == b"public"
