"""The endpoints as their callers meet them: balancers, browsers, scrapers, staff."""

import asyncio
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from django.contrib.auth.models import User
from django.core.handlers.base import BaseHandler
from django.db import OperationalError, connection, connections
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient, Client
from django.urls import include, path

from redis_optimizer import views
from redis_optimizer.health import Status
from redis_optimizer.health.audience import known
from tests.health import switches
from tests.health.switches import SECRETS, set_status, switch

FORMATS = ["application/health+json", "application/openmetrics-text", "text/plain"]

urlpatterns = [path("", include("redis_optimizer.urls"))]


@pytest.fixture(autouse=True)
def endpoints(settings: Any) -> Iterator[None]:
    settings.ROOT_URLCONF = __name__
    settings.REDIS_OPTIMIZER = switches.SETTINGS
    settings.MIDDLEWARE = [
        "redis_optimizer.middleware.RedisOptimizerMiddleware",
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
    ]
    # No table is needed for it.
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
    set_status(Status.OK)
    known.clear()
    yield
    known.clear()


@pytest.fixture
def staff(db: None) -> Client:
    """Return a client that staff uses."""
    client = Client()
    client.force_login(User.objects.create_user("staff", is_staff=True))
    return client


@pytest.fixture
def member(db: None) -> Client:
    """Return a client of somebody who is logged in, and not staff."""
    client = Client()
    client.force_login(User.objects.create_user("member"))
    return client


class TestHealth:
    @pytest.mark.parametrize(
        ("status", "code"), [(Status.OK, 200), (Status.DEGRADED, 200), (Status.FAILING, 503)]
    )
    def test_everybody_is_told_one_word(self, client: Client, status: Status, code: int) -> None:
        set_status(status)
        response = client.get("/health/")
        assert response.status_code == code
        assert response["Content-Type"] == "application/json"
        body = response.json()
        assert body.pop("age") >= 0
        assert body == {"status": status, "cached": False}
        again = client.get("/health/").json()
        assert again["cached"] is True
        assert again.keys() == {"status", "cached", "age"}

    def test_who_is_logged_in_is_told_no_more(self, member: Client) -> None:
        assert member.get("/health/").json().keys() == {"status", "cached", "age"}

    def test_staff_are_told_what_was_seen(self, staff: Client) -> None:
        set_status(Status.DEGRADED)
        body = staff.get("/health/").json()
        assert body.keys() == {
            *("status", "cached", "age", "checked_at", "response_time_ms", "checks")
        }
        [check] = body["checks"]
        assert (check["name"], check["component"]) == ("vault", "datastore")
        assert check["status"] == "degraded"
        assert "db-7.internal" in check["error"]

    def test_staff_are_told_what_the_checks_took(self, staff: Client) -> None:
        staff.get("/health/")
        assert "checks;dur=" not in staff.get("/health/")["Server-Timing"]  # known already
        timing = staff.get("/health/?refresh=1")["Server-Timing"]
        assert re.search(r'checks;dur=\d+\.\d;desc="1 check"', timing)

    def test_nobody_is_looked_up_while_the_site_is_not_ready(
        self, staff: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[HttpRequest] = []  # a frozen store of sessions would hold this up
        monkeypatch.setattr("django.contrib.auth.middleware.get_user", asked.append)
        set_status(Status.FAILING)
        response = staff.get("/health/")
        assert not asked
        assert response.status_code == 503
        assert response.json().keys() == {"status", "cached", "age"}

    def test_staff_and_others_are_told_of_one_run(self, client: Client, staff: Client) -> None:
        client.get("/ready/")  # what tells that staff may be looked up
        before = switches.runs
        assert not client.get("/health/").json()["cached"]
        assert staff.get("/health/").json()["cached"]
        assert switches.runs == before + 1

    @pytest.mark.parametrize("status", Status)
    @pytest.mark.parametrize("path", ["/health/", "/health/?refresh=1", "/ready/", "/live/"])
    def test_secrets_are_kept(self, client: Client, status: Status, path: str) -> None:
        switch(status)
        for accept in ("*/*", *FORMATS):
            for ask in (client.get, client.head):
                response = ask(path, headers={"Accept": accept})
                said = f"{response.content.decode()} {dict(response.headers)}".lower()
                assert [secret for secret in SECRETS if secret.lower() in said] == []


class TestReady:
    def test_it_is_about_what_the_site_cannot_do_without(
        self, client: Client, settings: Any
    ) -> None:
        switch(Status.FAILING)
        assert client.get("/ready/").status_code == 503
        path = switches.SETTINGS["HEALTH_CHECKS"][0]
        settings.REDIS_OPTIMIZER = {"HEALTH_CHECKS": [(path, {"ready": False})]}
        assert client.get("/ready/").status_code == 200
        assert client.get("/health/").status_code == 503

    def test_everybody_is_told_one_word(
        self, staff: Client, django_assert_num_queries: Any
    ) -> None:
        with django_assert_num_queries(0):  # nobody is recognised
            response = staff.get("/ready/?refresh=1")
        assert response.json().keys() == {"status", "cached", "age"}


class TestLive:
    def test_it_says_that_it_lives(self, client: Client) -> None:
        before = switches.runs
        response = client.get("/live/")
        assert (response.status_code, response.json()) == (200, {"status": "ok"})
        assert switches.runs == before

    def test_so_it_does_without_the_middleware(self, client: Client, settings: Any) -> None:
        with_it = client.get("/live/")
        settings.MIDDLEWARE = settings.MIDDLEWARE[1:]
        without = client.get("/live/")
        assert without.content == with_it.content
        assert without["Cache-Control"] == with_it["Cache-Control"] == "no-store"


class TestCost:
    @pytest.mark.parametrize("path", ["/health/", "/ready/"])
    @pytest.mark.parametrize("who", ["client", "staff"])
    def test_a_warm_call_costs_nothing(
        self,
        request: pytest.FixtureRequest,
        path: str,
        who: str,
        admin: redis.Redis,
        settings: Any,
        db: None,
        django_assert_num_queries: Any,
    ) -> None:
        settings.REDIS_OPTIMIZER = {
            "HEALTH_CHECKS": [
                f"redis_optimizer.health.checks.{name}" for name in ("Redis", "CacheTier")
            ],
            "READY_TTL": 600,  # longer than 50 calls take anywhere
        }
        client = request.getfixturevalue(who)
        assert client.get(path).status_code == 200
        before = total_commands(admin)
        with django_assert_num_queries(0):
            for _ in range(50):
                assert client.get(path).json()["cached"]
        assert total_commands(admin) == before

    async def test_callers_under_asgi_share_a_run(self) -> None:
        before = switches.runs
        client = AsyncClient()
        responses = await asyncio.gather(*(client.get("/health/") for _ in range(20)))
        assert {response.status_code for response in responses} == {200}
        assert switches.runs == before + 1


def total_commands(admin: redis.Redis) -> int:
    """Return how many commands the server has had, but for those that ask it so."""
    stats: dict[str, Any] = admin.info("commandstats")
    return sum(stat["calls"] for name, stat in stats.items() if name != "cmdstat_info")


class TestRefresh:
    def test_staff_may_have_the_checks_run(self, staff: Client) -> None:
        staff.get("/health/")
        before = switches.runs
        set_status(Status.DEGRADED)
        body = staff.get("/health/?refresh=1").json()
        assert (body["status"], body["cached"]) == ("degraded", False)
        assert switches.runs == before + 1

    @pytest.mark.parametrize("who", ["client", "member"])
    def test_others_may_not(self, request: pytest.FixtureRequest, who: str) -> None:
        client = request.getfixturevalue(who)
        client.get("/health/")
        before = switches.runs
        assert client.get("/health/?refresh=1").json()["cached"]
        assert switches.runs == before


class TestHttp:
    def test_a_good_answer_may_be_kept_but_is_asked_for(self, client: Client) -> None:
        began = time.monotonic()
        response = client.get("/health/")
        longest = time.monotonic() - began
        assert set(response["Cache-Control"].split(", ")) == {"private", "no-cache"}
        assert {"Accept", "Cookie"} <= set(response["Vary"].split(", "))
        assert 0 <= int(response["Age"]) <= longest  # whole seconds since the run began
        assert response["X-Cache"] == "miss"
        assert float(response["X-Response-Time"]) >= 0
        assert client.get("/health/")["X-Cache"] == "hit"
        assert not response.has_header("Retry-After")

    def test_a_bad_answer_is_kept_nowhere(self, client: Client) -> None:
        set_status(Status.FAILING)
        response = client.get("/health/")
        assert response["Cache-Control"] == "no-store"
        assert not response.has_header("ETag")
        assert 1 <= int(response["Retry-After"]) <= 10

    def test_where_nothing_is_kept_it_says_so(self, client: Client, settings: Any) -> None:
        settings.REDIS_OPTIMIZER = switches.SETTINGS | {"HEALTH_TTL": 0, "HEALTH_STAFF_TTL": 0}
        assert client.get("/health/")["X-Cache"] == "off"
        set_status(Status.FAILING)
        assert client.get("/health/")["Retry-After"] == "1"

    @pytest.mark.parametrize("who", ["client", "staff"])
    def test_who_has_it_already_gets_a_304(self, request: pytest.FixtureRequest, who: str) -> None:
        client = request.getfixturevalue(who)
        etag = client.get("/health/")["ETag"]
        assert etag.startswith('W/"')
        for known_tags in (etag, f'"other", {etag}', etag.removeprefix("W/"), "*"):
            response = client.get("/health/", headers={"If-None-Match": known_tags})
            assert response.status_code == 304
            assert response.content == b""
            assert response["ETag"] == etag
            assert int(response["Age"]) >= 0
            assert set(response["Cache-Control"].split(", ")) == {"private", "no-cache"}
            assert {"Accept", "Cookie"} <= set(response["Vary"].split(", "))

    def test_what_differs_has_another_etag(self, client: Client, staff: Client) -> None:
        def etag(client: Client, accept: str = "*/*") -> str:
            return str(client.get("/health/", headers={"Accept": accept})["ETag"])

        tags = [etag(who, accept) for who in (client, staff) for accept in ("*/*", *FORMATS)]
        public = etag(client)
        switch(Status.DEGRADED)
        tags += [etag(client), etag(staff)]
        switch(Status.OK)
        tags.append(etag(staff))  # another run
        assert len(set(tags)) == len(tags)
        assert etag(client) == public  # the same word

    def test_a_failing_site_answers_in_full(self, client: Client) -> None:
        switch(Status.FAILING)
        response = client.get("/health/", headers={"If-None-Match": "*"})
        assert response.status_code == 503
        assert response.json()["status"] == "failing"

    @pytest.mark.parametrize("path", ["/live/", "/ready/", "/health/"])
    def test_head_says_what_get_says_without_a_body(self, client: Client, path: str) -> None:
        client.get(path)
        get, head = client.get(path), client.head(path)
        assert head.status_code == 200
        assert head.content == b""
        assert head.headers.keys() == get.headers.keys()

    @pytest.mark.parametrize("path", ["/live/", "/ready/", "/health/"])
    @pytest.mark.parametrize("method", ["post", "put", "delete", "patch", "options"])
    def test_nothing_else_is_allowed(self, client: Client, path: str, method: str) -> None:
        response = getattr(client, method)(path)
        assert response.status_code == 405
        assert response["Allow"] == "GET, HEAD"

    @pytest.mark.parametrize(
        ("accept", "content_type", "begins"),
        [
            ("application/health+json", "application/health+json", '{"status": "fail"}'),
            (
                "application/openmetrics-text; version=1.0.0",
                "application/openmetrics-text; version=1.0.0; charset=utf-8",
                "# TYPE site_health gauge",
            ),
            ("text/plain", "text/plain; version=0.0.4; charset=utf-8", "# TYPE site_health gauge"),
        ],
    )
    def test_other_formats_may_be_asked_for(
        self, client: Client, accept: str, content_type: str, begins: str
    ) -> None:
        switch(Status.FAILING)
        response = client.get("/health/", headers={"Accept": accept})
        assert response["Content-Type"] == content_type
        assert response.content.decode().startswith(begins)
        # Prometheus keeps nothing of a response that is not 200.
        assert response.status_code == (503 if "json" in accept else 200)
        assert response["Cache-Control"] == "no-store"


class TestAtomicRequests:
    @pytest.fixture(autouse=True)
    def atomic_requests(self, monkeypatch: pytest.MonkeyPatch) -> None:
        other = connections.settings["default"] | {"ATOMIC_REQUESTS": True}
        monkeypatch.setitem(connections.settings, "other", other)
        monkeypatch.setitem(connections.settings["default"], "ATOMIC_REQUESTS", True)

    @pytest.mark.parametrize("path", ["/live/", "/ready/", "/health/"])
    def test_no_transaction_is_begun(self, client: Client, settings: Any, path: str) -> None:
        # The test has no database: a transaction would fail.
        settings.MIDDLEWARE = []  # so that live/ is a view, too
        connections.settings["other"]["ATOMIC_REQUESTS"] = False
        assert client.get(path).status_code == 200

    def test_nor_is_one_of_any_other_database(self) -> None:
        def view(request: HttpRequest) -> HttpResponse:
            return HttpResponse()

        atomic = BaseHandler().make_view_atomic
        assert atomic(view) is not view
        assert atomic(views.never_atomic(view)) is view


class TestFaults:
    def test_without_the_store_of_sessions_everybody_is_the_public(
        self, db: None, settings: Any
    ) -> None:
        # The tests' database has no table of it.
        settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, "django.contrib.sessions"]
        settings.SESSION_ENGINE = "django.contrib.sessions.backends.db"
        client = Client()
        client.cookies[settings.SESSION_COOKIE_NAME] = "a" * 32
        with pytest.raises(OperationalError):
            client.session.load()
        self.is_told_one_word(client)

    def test_without_the_table_of_users_everybody_is_the_public(self, staff: Client) -> None:
        with connection.cursor() as cursor:  # undone with the test's transaction
            cursor.execute("ALTER TABLE auth_user RENAME TO auth_user_away")
        self.is_told_one_word(staff)

    def is_told_one_word(self, client: Client) -> None:
        assert client.get("/health/").json().keys() == {"status", "cached", "age"}
        switch(Status.FAILING)
        response = client.get("/health/")
        assert (response.status_code, response.json()["status"]) == (503, "failing")

    @pytest.mark.parametrize("path", ["/health/", "/ready/"])
    @pytest.mark.parametrize("where", ["get_verdict", "respond"])
    def test_whatever_goes_wrong_is_a_503_that_keeps_secrets(
        self,
        client: Client,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
        path: str,
        where: str,
    ) -> None:
        def fail(*args: Any, **kwargs: Any) -> Any:
            raise RuntimeError("hunter2")

        monkeypatch.setattr(views, where, fail)
        response = client.get(path)
        assert (response.status_code, response.json()) == (503, {"status": "failing"})
        assert response["Cache-Control"] == "no-store"
        assert response["Retry-After"] == "1"
        assert "hunter2" not in str(dict(response.headers))
        assert "hunter2" in caplog.text

    def test_a_poll_of_a_failing_site_is_no_error_of_its_own(
        self, client: Client, caplog: pytest.LogCaptureFixture
    ) -> None:
        # ADMINS would have a mail for each.
        switch(Status.FAILING)
        caplog.clear()
        caplog.set_level("INFO", "django.request")
        client.get("/health/")
        [record] = [one for one in caplog.records if one.name == "django.request"]
        assert record.levelname == "INFO"


@pytest.mark.parametrize("path", ["/live/", "/ready/", "/health/"])
def test_no_log_in_is_required(client: Client, settings: Any, path: str) -> None:
    required = "django.contrib.auth.middleware.LoginRequiredMiddleware"
    settings.MIDDLEWARE = [*settings.MIDDLEWARE[1:], required]  # ours answers live/ before it
    assert client.get(path).status_code == 200
