"""The strip as the server renders it."""

import re
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from threading import enumerate as enumerate_threads
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponse
from django.template import Context, RequestContext, Template
from django.test import Client, RequestFactory
from django.urls import include, path
from django.utils.translation import override
from django.views.decorators.cache import cache_page

import redis_optimizer
from redis_optimizer.health import Result, Status, Verdict
from redis_optimizer.health.audience import known
from redis_optimizer.templatetags import redis_optimizer as tags
from tests.health import switches
from tests.health.switches import set_status, switch
from tests.health.verdicts import BROKER, DATABASE, REDIS, verdict
from tests.servers import wait_until

STATIC = Path(redis_optimizer.__file__).parent / "static/redis_optimizer"
RUNS = {"redis_optimizer:health", "redis_optimizer:ready"}  # not to be counted by the next test
SOURCE = "{% load redis_optimizer %}{% health_strip %}"

urlpatterns = [
    path("page/", lambda request: HttpResponse(page(request))),
    path("kept/", cache_page(60)(lambda request: HttpResponse(page(request) + uuid4().hex))),
    path("status/", include("redis_optimizer.urls")),
]


@pytest.fixture(autouse=True)
def site(settings: Any) -> Iterator[None]:
    settings.REDIS_OPTIMIZER = switches.SETTINGS
    settings.ROOT_URLCONF = __name__
    settings.STATIC_URL = "/static/"
    settings.TEMPLATES = [
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "APP_DIRS": True,
            "OPTIONS": {"context_processors": ["django.template.context_processors.request"]},
        }
    ]
    set_status(Status.OK)
    known.clear()
    yield
    known.clear()
    wait_until(lambda: not RUNS & {thread.name for thread in enumerate_threads()})


@pytest.fixture
def render(rf: RequestFactory) -> Callable[..., "Strip"]:
    def render(*, is_staff: bool = False) -> Strip:
        request = rf.get("/")
        if is_staff:
            request.COOKIES["sessionid"] = "a session's"
            request.user = User(is_staff=True)
        return Strip(page(request))

    return render


@pytest.fixture
def knows(monkeypatch: pytest.MonkeyPatch) -> Callable[[Verdict | None], None]:
    """Return a function that sets what the process knows."""

    def knows(verdict: Verdict | None) -> None:
        monkeypatch.setattr(tags, "peek_verdict", lambda **kwargs: verdict)

    return knows


def page(request: HttpRequest) -> str:
    return Template(SOURCE).render(RequestContext(request))


class Strip(HTMLParser):
    """What the page holds: the attributes of each element, and the text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.html = html
        self.elements: dict[str, dict[str, str | None]] = {}
        self.text = ""
        self.feed(html)
        self.data = self.elements["section"]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements[tag] = dict(attrs)

    def handle_data(self, data: str) -> None:
        self.text = " ".join(f"{self.text} {data}".split())


class TestState:
    @pytest.mark.parametrize(
        ("results", "word"), [([REDIS], "OK"), ([BROKER], "degraded"), ([DATABASE], "failing")]
    )
    def test_everybody_reads_one_word(
        self, render: Any, knows: Any, results: Any, word: str
    ) -> None:
        knows(verdict(*results))
        strip = render()
        assert strip.text.startswith(f"Site status: {word} Details Last checked:")
        assert strip.data["data-state"] == strip.data["data-status"] == word.lower()
        assert "data-names" not in strip.data

    def test_staff_read_which_checks_are_not_ok(self, render: Any, knows: Any) -> None:
        knows(verdict(REDIS, BROKER, DATABASE))
        strip = render(is_staff=True)
        assert strip.text.startswith("Site status: failing: broker, database Details")
        assert strip.data["data-names"] == "broker, database"
        assert "timed out" not in strip.html

    def test_what_is_old_is_said_to_be_old(self, render: Any, knows: Any) -> None:
        knows(verdict(REDIS, age=300))
        assert render().data["data-state"] == "ok"
        knows(verdict(REDIS, age=301))
        strip = render()
        assert strip.data["data-state"] == "stale"
        assert "Site status: out of date, last known: OK" in strip.text

    @pytest.mark.parametrize(
        ("options", "is_staff", "age"),
        [
            ({"HEALTH_POLL_INTERVAL": 30}, False, 120 + 45),
            ({"HEALTH_POLL_INTERVAL": 30}, True, 60 + 45),
            ({"HEALTH_TTL": 600}, False, 600 + 180),
        ],
    )
    def test_what_the_server_still_tells_is_not_old(
        self,
        render: Any,
        knows: Any,
        settings: Any,
        options: dict[str, int],
        is_staff: bool,
        age: int,
    ) -> None:
        settings.REDIS_OPTIMIZER = {**switches.SETTINGS, **options}
        knows(verdict(REDIS, age=age))
        assert render(is_staff=is_staff).data["data-state"] == "ok"
        knows(verdict(REDIS, age=age + 1))
        assert render(is_staff=is_staff).data["data-state"] == "stale"

    def test_what_is_not_known_is_not_claimed(self, render: Any, knows: Any) -> None:
        knows(None)
        strip = render()
        assert strip.data["data-state"] == "unknown"
        assert "Site status: not known yet" in strip.text
        assert "data-age" not in strip.data
        assert "<p hidden>" in strip.html

    def test_the_time_is_that_of_the_site(self, render: Any, knows: Any, settings: Any) -> None:
        settings.TIME_ZONE = "Asia/Tokyo"
        knows(verdict(REDIS))
        strip = render()
        assert strip.elements["time"]["datetime"] == "2026-09-21T23:13:20.250000+09:00"
        assert "11:13 p.m." in strip.text

    def test_numbers_are_for_the_script_not_for_the_reader(
        self, render: Any, knows: Any, settings: Any
    ) -> None:
        settings.USE_THOUSAND_SEPARATOR = True
        settings.REDIS_OPTIMIZER = {**switches.SETTINGS, "HEALTH_POLL_INTERVAL": 1234.5}
        knows(verdict(REDIS, age=1000.6))
        with override("de"):
            strip = render()
        assert strip.data["data-poll"] == "1234.5"
        assert strip.data["data-stale-after"] == "3086.25"
        assert strip.data["data-age"] == "1001"

    @pytest.mark.parametrize(
        ("results", "age", "words"),
        [
            ([REDIS], 1, "in Ordnung"),
            ([REDIS, BROKER], 1, "eingeschränkt: broker"),
            ([DATABASE], 301, "nicht aktuell, zuletzt: gestört: database"),
        ],
    )
    def test_its_words_are_those_of_the_pages_language(
        self, render: Any, knows: Any, results: Any, age: float, words: str
    ) -> None:
        knows(verdict(*results, age=age))
        with override("de"):
            strip = render(is_staff=True)
        assert strip.text.startswith(f"Status der Website: {words} Details Zuletzt geprüft: 21. ")
        assert strip.text.endswith("Statusbericht")
        assert strip.data["aria-label"] == "Status der Website"
        assert strip.data["data-word-ok"] == "in Ordnung"  # what the script shows
        assert strip.data["data-word-stale"] == "nicht aktuell, zuletzt: {state}"

    def test_what_a_check_is_called_cannot_break_the_page(self, render: Any, knows: Any) -> None:
        knows(verdict(Result('"><script>', "x", Status.FAILING, 1, 1)))
        assert "<script>" not in render(is_staff=True).html


class TestCost:
    def test_a_page_does_not_wait_for_checks(self, render: Any) -> None:
        before = switches.runs
        assert render().data["data-state"] == "unknown"
        # One run has begun behind it, and what it finds is shown from then on.
        wait_until(lambda: render().data["data-state"] == "ok")
        assert switches.runs == before + 1

    def test_a_page_needs_no_query(
        self, render: Any, django_assert_num_queries: Any, db: None
    ) -> None:
        switch(Status.OK)
        with django_assert_num_queries(0):
            render()
            render(is_staff=True)

    def test_a_page_is_shown_whatever_goes_wrong(
        self, render: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        def fail(**kwargs: Any) -> None:
            raise RuntimeError("no more threads")

        monkeypatch.setattr(tags, "begin_verdict", fail)
        assert render().data["data-state"] == "unknown"
        assert "no more threads" in caplog.text


class TestCaches:
    @pytest.fixture(autouse=True)
    def sessions(self, db: None, settings: Any) -> None:
        settings.MIDDLEWARE = [
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
        ]
        settings.SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"

    def test_a_page_for_staff_is_not_for_others(self, client: Client) -> None:
        client.force_login(User.objects.create_user("staff", is_staff=True))
        switch(Status.FAILING)
        for _ in range(2):  # the second time, the cookie is known
            response = client.get("/page/")
            assert b"vault" in response.content
            assert response["Vary"] == "Cookie"

    def test_nor_does_django_keep_it_for_others(self, client: Client) -> None:
        switch(Status.FAILING)
        boss = Client()
        boss.force_login(User.objects.create_user("staff", is_staff=True))
        assert b"vault" in boss.get("/kept/").content
        public = client.get("/kept/").content
        assert b"vault" not in public
        assert client.get("/kept/").content == public  # which is kept: it has a number

    def test_a_page_for_everybody_may_be_kept_for_everybody(self, client: Client) -> None:
        assert not client.get("/page/").has_header("Vary")


class TestSetUp:
    def test_it_needs_the_request(self) -> None:
        with pytest.raises(ImproperlyConfigured, match=r"render\(request"):
            Template(SOURCE).render(Context())

    def test_it_has_the_nonce_of_the_page_where_there_is_one(self, rf: RequestFactory) -> None:
        html = Template(SOURCE).render(RequestContext(rf.get("/"), {"csp_nonce": "abc"}))
        assert re.findall(r'<(\w+)[^>]* nonce="abc"', html) == ["link", "script"]
        assert "nonce" not in page(rf.get("/"))

    def test_it_needs_no_context_processor(self, render: Any, settings: Any) -> None:
        [engine] = settings.TEMPLATES
        settings.TEMPLATES = [engine | {"OPTIONS": {}}]
        assert render().data["data-state"]

    def test_it_says_once_that_nothing_may_serve_its_files(
        self, render: Any, settings: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        tags.check_files.cache_clear()
        for _ in range(2):
            render()
        assert caplog.text.count("Add 'django.contrib.staticfiles' to INSTALLED_APPS") == 1
        settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, "django.contrib.staticfiles"]
        tags.check_files.cache_clear()
        caplog.clear()
        render()
        assert caplog.text == ""

    def test_it_needs_the_endpoints(self, render: Any, settings: Any) -> None:
        settings.ROOT_URLCONF = "tests.decorators.site"
        with pytest.raises(ImproperlyConfigured, match=r'include\("redis_optimizer.urls"\)'):
            render()

    def test_it_asks_where_the_site_has_put_them(self, render: Any) -> None:
        strip = render()
        assert strip.data["data-url"] == strip.elements["a"]["href"] == "/status/health/"


class TestFiles:
    def test_nothing_is_inline(self, render: Any) -> None:
        strip = render()
        assert strip.elements["link"]["href"] == "/static/redis_optimizer/health_strip.css"
        script = strip.elements["script"]
        assert script == {"defer": None, "src": "/static/redis_optimizer/health_strip.js"}
        assert not re.search(r"<style|\bstyle=|\bon\w+=|javascript:", strip.html)

    def test_they_are_small(self) -> None:
        assert (STATIC / "health_strip.js").stat().st_size < 5000
        assert (STATIC / "health_strip.css").stat().st_size < 2000

    def test_nothing_moves(self) -> None:
        # So there is nothing to hold still for those who prefer reduced motion.
        style = (STATIC / "health_strip.css").read_text()
        assert not re.search(r"transition|animation|@keyframes", style)
