"""What is found in the settings of the site."""

import pytest
import redis
from django.test import override_settings

from redis_optimizer.doctor import Severity
from redis_optimizer.embedded import EmbeddedServer
from redis_optimizer.middleware import RedisOptimizerMiddleware
from redis_optimizer.stats import orders
from tests.doctor.sites import app_on, cache_on, diagnose, is_free_of, one

MIDDLEWARE = "redis_optimizer.middleware.RedisOptimizerMiddleware"
CACHE = "django.contrib.sessions.backends.cache"


class OurMiddleware(RedisOptimizerMiddleware):
    """A middleware of the site's own."""


def test_all_parts_off(own: EmbeddedServer) -> None:
    caches = {"default": cache_on(own)}
    report = diagnose(CACHES=caches, REDIS_OPTIMIZER={"ENABLED": False})
    finding = one(report, "switched-off")
    assert finding.severity is Severity.INFO
    assert finding.what.startswith("Every part is off")
    assert is_free_of(diagnose(CACHES=caches), "switched-off")


def test_a_part_that_is_switched_off(own: EmbeddedServer) -> None:
    caches = {"default": cache_on(own)}
    with override_settings(CACHES=caches):
        orders.switch("cache", False, by="ada")
        report = diagnose(CACHES=caches)
        orders.switch("cache", True, by="ada")
        assert is_free_of(diagnose(CACHES=caches), "switched-off")
    finding = one(report, "switched-off")
    assert finding.what.startswith("The part 'cache' is switched off since 20")
    assert finding.what.endswith("UTC, by ada.")
    assert finding.change == "manage.py redis_optimizer_switch cache on"


class TestMiddleware:
    def test_it_is_missing(self, own: EmbeddedServer) -> None:
        report = diagnose(CACHES={}, MIDDLEWARE=["no.such.Middleware"])
        assert one(report, "middleware-missing").severity is Severity.INFO
        app_on(own)
        report = diagnose(CACHES={}, MIDDLEWARE=[])
        assert one(report, "middleware-missing").severity is Severity.WARNING

    @pytest.mark.parametrize("path", [MIDDLEWARE, f"{__name__}.OurMiddleware"])
    def test_it_is_there(self, path: str) -> None:
        assert is_free_of(diagnose(CACHES={}, MIDDLEWARE=[path]), "middleware-missing")


class TestSessions:
    def test_where_keys_are_evicted(self, own: EmbeddedServer, client: redis.Redis) -> None:
        client.config_set("maxmemory", 64 * 1024**2)
        client.config_set("maxmemory-policy", "allkeys-lru")
        caches = {"default": cache_on(own), "sessions": cache_on(own, database=3)}
        report = diagnose(CACHES=caches, SESSION_ENGINE=CACHE, SESSION_CACHE_ALIAS="sessions")
        assert "evicts keys (allkeys-lru)" in one(report, "sessions-in-cache").what

    def test_where_another_cache_is_cleared(self, own: EmbeddedServer) -> None:
        app_on(own)  # which clears nothing
        caches = {"default": cache_on(own), "sessions": cache_on(own, KEY_PREFIX="s")}
        report = diagnose(CACHES=caches, SESSION_ENGINE=CACHE, SESSION_CACHE_ALIAS="sessions")
        what = one(report, "sessions-in-cache").what
        assert 'clear() of CACHES["default"] deletes them, too' in what

    @pytest.mark.parametrize("engine", [CACHE, "redis_optimizer.contrib.sessions"])
    def test_in_the_cache_of_the_site(self, own: EmbeddedServer, engine: str) -> None:
        report = diagnose(CACHES={"default": cache_on(own)}, SESSION_ENGINE=engine)
        assert "the site's own cache" in one(report, "sessions-in-cache").what

    def test_in_a_database_of_their_own(self, own: EmbeddedServer) -> None:
        caches = {"default": cache_on(own), "sessions": cache_on(own, database=3)}
        report = diagnose(CACHES=caches, SESSION_ENGINE=CACHE, SESSION_CACHE_ALIAS="sessions")
        assert is_free_of(report, "sessions-in-cache")

    def test_with_a_copy_in_the_database(self, own: EmbeddedServer) -> None:
        engine = "django.contrib.sessions.backends.cached_db"
        report = diagnose(CACHES={"default": cache_on(own)}, SESSION_ENGINE=engine)
        assert is_free_of(report, "sessions-in-cache")
