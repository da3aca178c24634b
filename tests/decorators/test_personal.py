"""Nobody is shown what was made for somebody else."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.messages import INFO, add_message, get_messages
from django.contrib.messages.middleware import MessageMiddleware
from django.contrib.messages.storage.cookie import CookieStorage
from django.contrib.sessions.backends.signed_cookies import SessionStore
from django.http import HttpRequest, HttpResponse
from django.middleware.csrf import get_token
from django.test import AsyncClient, Client, RequestFactory
from django.utils.functional import SimpleLazyObject
from django.views.decorators.csrf import csrf_protect

from redis_optimizer.decorators import cached_health, cached_status
from redis_optimizer.decorators.shelf import shelf
from redis_optimizer.health.audience import aaudience, audience

from . import site
from .conftest import Clock
from .test_views import body

pytestmark = pytest.mark.django_db


@pytest.fixture
def staff() -> Client:
    """Return a client of the site's staff."""
    return logged_in("boss", is_staff=True)


def logged_in(name: str, **fields: Any) -> Client:
    client = Client()
    client.force_login(get_user_model().objects.create_user(name, **fields))
    return client


class TestAudience:
    def test_staff_see_details_that_nobody_else_does(self, client: Client, staff: Client) -> None:
        for _ in range(2):
            assert "detail" in body(staff.get("/health/"))
            assert "detail" not in body(client.get("/health/"))
            assert "detail" not in body(logged_in(f"user{_}").get("/health/"))
        assert site.runs["health"] == 2

    @pytest.mark.django_db(transaction=True)  # other threads see the user, too
    async def test_it_is_so_on_the_event_loop(self, staff: Client) -> None:
        clients = [AsyncClient(), AsyncClient()]
        clients[0].cookies = staff.cookies
        for _ in range(2):
            answers = [body(await client.get("/ahealth/")) for client in clients]
            assert [answer["staff"] for answer in answers] == [True, False]
        assert site.runs["ahealth"] == 2

    def test_they_see_younger_ones(self, client: Client, staff: Client, clock: Clock) -> None:
        for client_ in (staff, client):
            client_.get("/health/")
        clock.time += 60
        assert client.get("/health/")["X-Cache"] == "hit"
        assert staff.get("/health/")["X-Cache"] == "miss"

    def test_caches_outside_are_told(self, client: Client) -> None:
        response = client.get("/health/")
        assert "Cookie" in response["Vary"]
        assert response["Cache-Control"] == "private, no-cache"

    @pytest.mark.parametrize("url", ["/greeting/", "/basket/"])
    def test_what_is_one_persons_is_not_kept(self, client: Client, url: str) -> None:
        ann = logged_in("ann")
        assert [ann.get(url)["X-Cache"], client.get(url)["X-Cache"]] == ["miss", "miss"]
        assert len(shelf) == 0


class TestWhatAHealthViewReads:
    """Whether staff asks is in the key; whatever else it reads of the user or session is not."""

    @pytest.mark.parametrize(
        "read",
        [
            lambda request: str(request.user),
            lambda request: repr(request.user),
            lambda request: f"{request.user}",
            lambda request: request.user == get_user_model()(pk=1),
            lambda request: hash(request.user),
            lambda request: request.user.__class__.__name__,
            lambda request: request.user.pk,
            lambda request: request.session["name"],
            # The user has been loaded from the session by then.
            lambda request: (request.user.is_staff, request.session["name"]),
        ],
    )
    @pytest.mark.parametrize("is_loaded", [False, True])
    def test_nobody_else_is_given_it(self, read: Any, is_loaded: bool) -> None:
        @cached_health
        def view(request: Any) -> dict[str, Any]:
            return {"read": read(request)}

        requests = [asked_by(name) for name in ("ann", "bob")]
        if is_loaded:  # by a middleware
            for request in requests:
                assert request.user.is_active
        answers = [view(request) for request in requests]
        assert [answer["X-Cache"] for answer in answers] == ["miss", "miss"]
        assert len(shelf) == 0

    async def test_nor_on_the_event_loop(self) -> None:
        @cached_health
        async def view(request: Any) -> dict[str, Any]:
            user = await request.auser()
            return {"staff": user.is_staff, "name": await request.session.aget("name")}

        answers = [await view(asked_by(name)) for name in ("ann", "bob")]
        assert [body(answer)["name"] for answer in answers] == ["ann", "bob"]

    async def test_that_the_user_is_loaded_from_the_session_does_not_count(self) -> None:
        @cached_health
        def view(request: Any) -> dict[str, Any]:
            return {"staff": request.user.is_staff and request.user.is_active}

        @cached_health
        async def aview(request: Any) -> dict[str, Any]:
            return {"staff": (await request.auser()).is_staff}

        for name, state in (("ann", "miss"), ("bob", "hit")):
            request, arequest = asked_by(name), asked_by(name)
            assert view(request)["X-Cache"] == (await aview(arequest))["X-Cache"] == state
            assert request.session.accessed == arequest.session.accessed == (name == "ann")

    @pytest.mark.parametrize("is_staff", [True, False])
    def test_who_is_taken_for_another_is_given_what_is_theirs_alone(self, is_staff: bool) -> None:
        """The user became staff, or ceased to be, or is told by something else than the session."""

        @cached_health
        def view(request: Any) -> dict[str, Any]:
            return {"staff": request.user.is_active and request.user.is_staff}

        def ask(is_staff: bool) -> Any:
            request = asked_by("ann")
            request.COOKIES["sessionid"] = "a session's"
            request.user.is_staff = is_staff
            return view(request)

        assert ask(not is_staff)["X-Cache"] == "miss"
        shelf.clear()
        changed = ask(is_staff)
        assert (changed["X-Cache"], body(changed)["staff"]) == ("miss", is_staff)
        assert len(shelf) == 0
        # From now on they are known for what they are.
        assert [ask(is_staff)["X-Cache"] for _ in range(2)] == ["miss", "hit"]

    async def test_nor_is_it_anybodys_on_the_event_loop(self, caplog: Any) -> None:
        @cached_health
        async def view(request: Any) -> dict[str, Any]:
            return {"staff": request.user.is_staff}

        for _ in range(2):
            request: Any = RequestFactory().get("/")
            request.user = get_user_model()(is_staff=True)  # a middleware of the site's, say
            response = await view(request)
            assert (response["X-Cache"], body(response)["staff"]) == ("miss", True)
        assert len(shelf) == 0
        assert caplog.text == ""  # the view does nothing wrong

    def test_an_error_of_one_taken_for_another_is_theirs_alone(self) -> None:
        @cached_health
        def view(request: Any) -> dict[str, Any]:
            raise PermissionError(request.user.is_staff)

        request: Any = RequestFactory().get("/")
        request.user = get_user_model()(is_staff=True)
        with pytest.raises(PermissionError, match="True"):
            view(request)

    def test_members_and_visitors_are_not_told_apart(self, caplog: Any) -> None:
        @cached_health
        def view(request: Any) -> dict[str, Any]:
            return {"member": request.user.is_active}

        assert view(asked_by("ann"))["X-Cache"] == "miss"
        assert len(shelf) == 0
        assert "read request.user.is_active without is_staff" in caplog.text

    def test_a_user_may_have_attributes_of_any_name(self) -> None:
        @cached_health
        def view(request: Any) -> dict[str, Any]:
            return {"watch": request.user.watch, "user": request.user.user}

        request = asked_by("ann")
        request.user.watch, request.user.user = "w", "u"
        assert body(view(request)).items() >= {"watch": "w", "user": "u"}.items()


def asked_by(name: str) -> Any:
    """Return a request of one whose user is loaded from the session."""
    request: Any = RequestFactory().get("/")
    request.session = SessionStore()
    request.session["name"] = name
    request.session.accessed = request.session.modified = False

    def load() -> Any:
        return get_user_model()(username=request.session["name"], pk=len(name))

    async def auser() -> Any:
        return load()

    request.user, request.auser = SimpleLazyObject(load), auser
    return request


class TestStaffOfAStatus:
    def test_they_take_a_younger_one_of_the_same(self, staff: Client, clock: Clock) -> None:
        @cached_status(60, vary=None, staff_ttl=20)
        def view(request: Any) -> dict[str, Any]:
            return {"run": site.run("view")}

        def ask(client: Client) -> int:
            request = RequestFactory().get("/")
            request.COOKIES = {name: morsel.value for name, morsel in client.cookies.items()}
            request.user = SimpleLazyObject(lambda: get_user_model().objects.get())
            return int(body(view(request))["run"])

        assert [ask(Client()), ask(staff)] == [1, 1]
        clock.time += 20
        assert [ask(Client()), ask(staff), ask(Client())] == [1, 2, 2]

    def test_they_may_ask_for_a_new_one(self, client: Client, staff: Client) -> None:
        client.get("/status/")
        assert client.get("/status/?refresh=1")["X-Cache"] == "hit"
        assert logged_in("ann").get("/status/?refresh=1")["X-Cache"] == "hit"
        assert staff.get("/status/?refresh=0")["X-Cache"] == "hit"
        response = staff.get("/status/?refresh=1")
        assert (response["X-Cache"], body(response)["run"]) == ("miss", 2)
        assert body(client.get("/status/"))["run"] == 2  # it is everybody's


class TestTheSameForAll:
    @pytest.mark.parametrize("url", ["/whoami/", "/awhoami/", "/visits/", "/page/name/"])
    def test_what_reads_who_asks_is_not_kept(self, client: Client, url: str) -> None:
        ann, bob = logged_in("ann"), logged_in("bob")
        answers = [one.get(url) for one in (ann, bob, client, ann)]
        assert [answer["X-Cache"] for answer in answers] == ["miss"] * 4
        assert len(shelf) == 0
        if url != "/visits/":
            assert b"ann" in answers[0].content
            assert b"ann" not in answers[1].content + answers[2].content

    def test_a_view_that_does_so_for_some_only_is_kept_for_the_others(
        self, client: Client, staff: Client
    ) -> None:
        @cached_status(60, vary=None)
        def view(request: Any) -> dict[str, Any]:
            return {"name": request.user.username} if request.GET else {"name": "all"}

        request = RequestFactory().get("/?me=1")
        request.user = get_user_model().objects.get()
        assert body(view(request))["name"] == "boss"
        assert view(RequestFactory().get("/"))["X-Cache"] == "miss"
        assert (body(view(request))["name"], view(request)["X-Cache"]) == ("all", "hit")

    @pytest.mark.parametrize("is_async", [False, True])
    async def test_asking_our_own_way_who_asks_counts_as_well(
        self, staff: Client, is_async: bool
    ) -> None:
        if is_async:

            @cached_status(60, vary=None)
            async def view(request: Any) -> dict[str, Any]:
                return {"who": await aaudience(request)}
        else:

            @cached_status(60, vary=None)
            def view(request: Any) -> dict[str, Any]:  # type: ignore[misc]
                return {"who": audience(request)}

        request: Any = RequestFactory().get("/")
        request.user = None
        response = await view(request) if is_async else view(request)
        assert body(response)["who"] == "public"
        assert len(shelf) == 0

    def test_an_error_that_may_be_one_persons_is_not_given_to_another(self) -> None:
        """See test_single_flight for those that wait."""

        @cached_status(60, vary=None)
        def view(request: Any) -> dict[str, Any]:
            raise PermissionError(request.user.username)

        request = RequestFactory().get("/")
        request.user = get_user_model()(username="ann")
        with pytest.raises(PermissionError, match="ann"):
            view(request)

    def test_the_request_is_as_it_was_afterwards(self, rf: RequestFactory) -> None:
        user = get_user_model()(username="ann")
        request: Any = rf.get("/")
        request.user = user
        before = dict(vars(request))
        site.whoami(request)
        assert vars(request) == before
        assert request.user is user

    def test_a_user_that_the_view_puts_there_stays(self, rf: RequestFactory) -> None:
        other = get_user_model()(username="other")

        @cached_status(60, vary=None)
        def view(request: Any) -> dict[str, Any]:
            request.user = other
            return {}

        request: Any = rf.get("/")
        request.user = get_user_model()(username="ann")
        view(request)
        assert request.user is other

    def test_what_is_read_for_the_key_is_not_counted(self, staff: Client, client: Client) -> None:
        staff.get("/status/?refresh=1")  # looks up who asks
        assert client.get("/status/")["X-Cache"] == "hit"

    def test_the_session_that_was_read_is_still_known_to_be(self, client: Client) -> None:
        assert "Cookie" in client.get("/visits/")["Vary"]


class TestCookies:
    def test_a_csrf_token_is_never_anothers(self, client: Client) -> None:
        pages = [Client().get("/page/token/") for _ in range(2)]
        assert pages[0].content != pages[1].content
        assert all("csrftoken" in page.cookies for page in pages)
        assert len(shelf) == 0

    def test_nor_is_one_of_the_session(self, rf: RequestFactory, settings: Any) -> None:
        settings.CSRF_USE_SESSIONS = True

        @cached_status(60, vary=lambda request: "an org")
        @csrf_protect
        def view(request: HttpRequest) -> HttpResponse:
            return HttpResponse(get_token(request))

        for _ in range(2):
            request: Any = rf.get("/")
            request.session = SessionStore()
            request.session["_csrftoken"] = "a" * 32
            request.session.modified = False
            assert view(request)["X-Cache"] == "miss"
        assert len(shelf) == 0

    def test_nor_is_a_session_that_the_view_changed(self, client: Client) -> None:
        """Whatever `vary` says: what the view did would not be done for the next one."""
        answers = [body(client.get("/counting/?org=1"))["count"] for _ in range(2)]
        assert answers == [1, 2]
        assert "sessionid" in client.cookies
        assert len(shelf) == 0


class TestMessages:
    @pytest.fixture
    def ask(self, settings: Any) -> Any:
        settings.MESSAGE_STORAGE = "django.contrib.messages.storage.cookie.CookieStorage"

        def ask(view: Any, *texts: str) -> Any:
            request: Any = RequestFactory().get("/")
            MessageMiddleware(lambda request: HttpResponse()).process_request(request)
            storage = CookieStorage(request)
            for text in texts:
                storage.add(INFO, text)
            response = HttpResponse()
            storage.update(response)
            request.COOKIES = {name: one.value for name, one in response.cookies.items()}
            return view(request)

        return ask

    def test_one_persons_are_not_shown_to_another(self, ask: Any) -> None:
        @cached_status(60, vary=None)
        def view(request: Any) -> dict[str, Any]:
            return {"messages": [str(one) for one in get_messages(request)]}

        answers = [body(ask(view, *texts)) for texts in (["for ann"], [], [])]
        assert [answer["messages"] for answer in answers] == [["for ann"], [], []]
        assert [answer["cached"] for answer in answers] == [False, False, True]

    def test_what_adds_one_is_not_kept(self, ask: Any) -> None:
        @cached_status(60, vary=id)
        def view(request: Any) -> dict[str, Any]:
            add_message(request, INFO, "seen")
            return {}

        ask(view)
        assert len(shelf) == 0


class TestCredentials:
    @pytest.mark.parametrize("decorate", [cached_status(60, vary=None), cached_health])
    def test_what_is_shown_for_them_is_shown_for_them_alone(self, decorate: Any) -> None:
        """Not even by a view that reads them itself, which cannot be noticed."""

        @decorate
        def view(request: Any) -> dict[str, Any]:
            return {"who": request.headers.get("Authorization", "")}

        def ask(who: str) -> dict[str, Any]:
            headers = {"Authorization": who} if who else {}
            return body(view(RequestFactory().get("/", headers=headers)))

        answers = [ask(who) for who in ("Bearer ann", "Bearer bob", "") * 2]
        assert [answer["who"] for answer in answers] == ["Bearer ann", "Bearer bob", ""] * 2
        assert [answer["cached"] for answer in answers] == [False] * 3 + [True] * 3


class TestVaryByUser:
    def test_each_has_a_response_of_their_own(self, client: Client) -> None:
        ann, bob = logged_in("ann"), logged_in("bob")
        names = [body(one.get("/mine/"))["name"] for one in (ann, bob, client) * 2]
        assert names == ["ann", "bob", ""] * 2
        assert site.runs["mine"] == 3
        assert "Cookie" in ann.get("/mine/")["Vary"]

    def test_without_one_who_asks_is_not_looked_up(
        self, django_assert_num_queries: Any, staff: Client
    ) -> None:
        with django_assert_num_queries(0):
            staff.get("/status/")


def test_a_health_view_may_ask_who_asks_without_a_session(rf: RequestFactory) -> None:
    @cached_health
    def view(request: Any) -> dict[str, Any]:
        return {"who": audience(request)}

    assert [view(rf.get("/"))["X-Cache"] for _ in range(2)] == ["miss", "hit"]


class TestWarnings:
    @pytest.mark.parametrize(
        ("decorate", "read", "why"),
        [
            (cached_status(60, vary=None), "name", "read request.user, but vary=None"),
            (cached_status(60, vary=None), "session", "read the session, but vary=None"),
            (cached_health, "name", "read request.user.username, but cached_health"),
            (cached_health, "session", "read the session, but cached_health"),
            (cached_health, "token", "used a CSRF token"),
            (cached_status(60, vary=id), "token", "used a CSRF token"),
            (cached_status(60, vary=id), "change", "changed the session"),
        ],
    )
    def test_a_view_is_warned_of_once(
        self,
        rf: RequestFactory,
        caplog: pytest.LogCaptureFixture,
        decorate: Any,
        read: str,
        why: str,
    ) -> None:
        @decorate
        def view(request: Any) -> dict[str, Any]:
            if read == "name":
                return {"name": request.user.username}
            if read == "session":
                return {"items": request.session.get("items")}
            if read == "change":
                request.session["items"] = 1
                return {}
            return {"token": get_token(request)}

        for _ in range(3):
            request: Any = rf.get("/")
            request.user = get_user_model()(username="ann")
            request.session = SessionStore()
            assert view(request)["X-Cache"] == "miss"
        (message,) = caplog.messages
        assert f"test_a_view_is_warned_of_once.<locals>.view {why}" in message
