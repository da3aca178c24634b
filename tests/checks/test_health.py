"""The system checks of the health endpoints."""

import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
from django.core import checks
from django.test import override_settings
from django.urls import clear_url_caches, include, path

from redis_optimizer.checks import check_health, check_middleware, check_urls
from redis_optimizer.checks.health import MIDDLEWARE
from redis_optimizer.middleware import RedisOptimizerMiddleware

DISK = "redis_optimizer.health.checks.Disk"
SECURITY = "django.middleware.security.SecurityMiddleware"
GZIP = "django.middleware.gzip.GZipMiddleware"
URL = "redis://127.0.0.1:1/0"


class Ours(RedisOptimizerMiddleware):
    """The site's own."""


def found(messages: list[checks.CheckMessage]) -> list[str]:
    """Return the id of each message, and assert that it has a hint."""
    assert all(message.hint for message in messages)
    return [str(message.id).removeprefix("redis_optimizer.") for message in messages]


def of(**given: Any) -> list[str]:
    """Return the ids for a setting REDIS_OPTIMIZER."""
    with override_settings(REDIS_OPTIMIZER=given):
        return found(check_health())


def alias(backend: str = "redis_optimizer.cache.TieredCache", **l1: Any) -> dict[str, Any]:
    return {"BACKEND": backend, "LOCATION": URL, "OPTIONS": {"L1": l1}}


def test_a_site_as_it_comes_is_right() -> None:
    assert found(check_health()) == []
    assert of() == []


def test_a_setting_that_is_wrong_is_told_by_another_check() -> None:
    assert of(HEALTH_TTL=-1) == []


class TestChecks:
    @pytest.mark.parametrize(
        "wrong",
        [
            "nowhere.Check",
            "redis_optimizer.health.checks.Absent",
            "os.path",
            (DISK, {"pathe": "/"}),
            ("redis_optimizer.contrib.watchman.WatchmanCheck", {"check": "nowhere.check"}),
        ],
        ids=repr,
    )
    def test_e030_what_cannot_be_run(self, wrong: Any) -> None:
        assert of(HEALTH_CHECKS=[DISK, wrong]) == ["E030"]

    def test_e030_names_it(self) -> None:
        with override_settings(REDIS_OPTIMIZER={"HEALTH_CHECKS": ["nowhere.Check"]}):
            (message,) = check_health()
        assert message.level == checks.ERROR
        assert "nowhere.Check" in message.msg
        assert "No module named" in message.msg


class TestShare:
    @pytest.mark.parametrize(
        ("name", "given"),
        [
            ("absent", alias(SINGLE_FLIGHT="fleet")),
            ("share", alias("django.core.cache.backends.locmem.LocMemCache")),
            ("share", alias("django_redis.cache.RedisCache")),
            ("share", alias("tests.checks.test_health.found")),  # a function
            ("share", alias(SINGLE_FLIGHT="fleet", ENABLED=False)),
            ("share", alias()),
            ("share", alias(SINGLE_FLIGHT="off")),
        ],
    )
    def test_e031_a_cache_through_which_nothing_is_shared(
        self, name: str, given: dict[str, Any]
    ) -> None:
        with override_settings(CACHES={"default": alias(), "share": given}):
            assert of(HEALTH_SHARE=name) == ["E031"]

    @pytest.mark.parametrize(
        "given",
        [
            alias(SINGLE_FLIGHT="fleet"),
            alias(SINGLE_FLIGHT="what"),  # said by the check of caches
            alias("nowhere.Cache"),  # said by Django
        ],
    )
    def test_a_cache_that_is_right_or_told_of_elsewhere(self, given: dict[str, Any]) -> None:
        with override_settings(CACHES={"default": alias(), "share": given}):
            assert of(HEALTH_SHARE="share", HEALTH_CHECKS=[]) == []


class TestTimeouts:
    def test_w032_a_check_that_may_take_longer_than_all(self) -> None:
        assert of(HEALTH_CHECK_TIMEOUT=5, HEALTH_TIMEOUT=4) == ["W032"]
        assert of(HEALTH_CHECK_TIMEOUT=4, HEALTH_TIMEOUT=4) == []

    def test_w033_a_probe_that_sees_a_failure_late(self) -> None:
        assert of(READY_TTL=6.5, HEALTH_TIMEOUT=4) == ["W033"]
        assert of(READY_TTL=6, HEALTH_TIMEOUT=4) == []


class TestMiddleware:
    @pytest.mark.parametrize("ours", [MIDDLEWARE, f"{__name__}.Ours"])
    def test_w030_it_is_behind_what_may_answer(self, ours: str) -> None:
        with override_settings(MIDDLEWARE=[SECURITY, GZIP, ours]):
            (message,) = check_middleware()
        assert message.id == "redis_optimizer.W030"
        assert SECURITY in message.msg
        assert GZIP not in message.msg
        assert message.hint

    @pytest.mark.parametrize(
        "given",
        [
            [],
            [SECURITY],
            [MIDDLEWARE, SECURITY],
            [GZIP, MIDDLEWARE],
            ["nowhere.Middleware", MIDDLEWARE, SECURITY],
        ],
    )
    def test_it_is_right_or_not_there(self, given: list[str]) -> None:
        with override_settings(MIDDLEWARE=given):
            assert found(check_middleware()) == []


class TestUrls:
    @pytest.fixture
    def urls(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
        """Be the URLconf of the site, which includes ours in one that it includes."""
        urls: Any = ModuleType("urls_of_this_test")
        monkeypatch.setitem(sys.modules, urls.__name__, urls)
        inner = [path("", include("redis_optimizer.urls"))]
        urls.urlpatterns = [path("in/", include((inner, "inner")))]
        clear_url_caches()
        with override_settings(ROOT_URLCONF=urls.__name__):
            yield urls
        clear_url_caches()

    def test_w031_the_endpoints_without_the_middleware(self, urls: Any) -> None:
        with override_settings(MIDDLEWARE=[SECURITY]):
            assert found(check_urls()) == ["W031"]
        with override_settings(MIDDLEWARE=[SECURITY, MIDDLEWARE]):
            assert found(check_urls()) == []

    def test_a_site_without_the_endpoints_needs_no_middleware(self, urls: Any) -> None:
        urls.urlpatterns = [path("a", lambda request: None)]
        clear_url_caches()
        assert found(check_urls()) == []

    def test_a_urlconf_that_is_broken_is_for_django_to_tell(self) -> None:
        with override_settings(ROOT_URLCONF="nowhere.urls"):
            assert found(check_urls()) == []

    def test_a_site_without_urls(self) -> None:
        with override_settings(ROOT_URLCONF=None):
            assert found(check_urls()) == []


def test_the_checks_are_registered() -> None:
    ours = {check_health, check_middleware, check_urls}
    assert ours <= set(checks.registry.registry.get_checks())
