"""What is found in the settings of the site."""

from typing import Any

import pytest
import redis
from django.test import override_settings

from redis_optimizer.doctor import Evidence, Severity, examine
from redis_optimizer.embedded import EmbeddedServer
from redis_optimizer.middleware import RedisOptimizerMiddleware
from redis_optimizer.stats import orders
from redis_optimizer.stats.gathered import Gathered
from tests.doctor.sites import app_on, cache_on, diagnose, is_free_of, one, process

MIDDLEWARE = "redis_optimizer.middleware.RedisOptimizerMiddleware"
CACHE = "django.contrib.sessions.backends.cache"


class OurMiddleware(RedisOptimizerMiddleware):
    """A middleware of the site's own."""


def test_all_parts_off(own: EmbeddedServer) -> None:
    caches = {"default": cache_on(own)}
    report = diagnose(CACHES=caches, REDIS_OPTIMIZER={"ENABLED": False})
    assert one(report, "disabled").severity is Severity.INFO
    assert is_free_of(diagnose(CACHES=caches), "disabled")


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


class TestHealth:
    @pytest.mark.parametrize(("name", "value"), [("HEALTH_TTL", 120), ("READY_TTL", 5)])
    def test_each_call_runs_the_checks(self, name: str, value: int) -> None:
        report = diagnose(CACHES={}, REDIS_OPTIMIZER={name: 0})
        finding = one(report, "health-uncached")
        assert finding.change == f'REDIS_OPTIMIZER["{name}"] = {value}'
        assert finding.saves is None

    def test_the_runs_that_were_seen_are_counted(self, settings: Any) -> None:
        settings.REDIS_OPTIMIZER = {"HEALTH_TTL": 0}

        def runs(number: int) -> Gathered:
            counts = {"verdict: site": {"runs": number}, "page": {"runs": 10 * number}}
            return Gathered([process(endpoints=counts)])

        evidence = Evidence(stats_before=runs(10), stats=runs(15), seconds=10)
        finding = one(examine(evidence), "health-uncached")
        assert finding.saves == 43_200
        assert finding.arithmetic.startswith("0.50 runs/s x 86,400 s x 1 command")

    def test_a_verdict_that_is_kept(self) -> None:
        assert is_free_of(diagnose(CACHES={}), "health-uncached")


class TestSessions:
    def test_where_keys_are_evicted(self, own: EmbeddedServer, client: redis.Redis) -> None:
        client.config_set("maxmemory", 64 * 1024**2)
        client.config_set("maxmemory-policy", "allkeys-lru")
        caches = {"default": cache_on(own), "sessions": cache_on(own, database=3)}
        report = diagnose(CACHES=caches, SESSION_ENGINE=CACHE, SESSION_CACHE_ALIAS="sessions")
        assert "evicts keys (allkeys-lru)" in one(report, "sessions-in-cache").what

    def test_where_another_cache_is_cleared(self, own: EmbeddedServer) -> None:
        caches = {"default": cache_on(own), "sessions": cache_on(own, KEY_PREFIX="s")}
        report = diagnose(CACHES=caches, SESSION_ENGINE=CACHE, SESSION_CACHE_ALIAS="sessions")
        what = one(report, "sessions-in-cache").what
        assert 'clear() of CACHES["default"] deletes them, too' in what

    def test_in_the_cache_of_the_site(self, own: EmbeddedServer) -> None:
        report = diagnose(CACHES={"default": cache_on(own)}, SESSION_ENGINE=CACHE)
        assert "the site's own cache" in one(report, "sessions-in-cache").what

    def test_in_a_database_of_their_own(self, own: EmbeddedServer) -> None:
        caches = {"default": cache_on(own), "sessions": cache_on(own, database=3)}
        report = diagnose(CACHES=caches, SESSION_ENGINE=CACHE, SESSION_CACHE_ALIAS="sessions")
        assert is_free_of(report, "sessions-in-cache")

    def test_with_a_copy_in_the_database(self, own: EmbeddedServer) -> None:
        engine = "django.contrib.sessions.backends.cached_db"
        report = diagnose(CACHES={"default": cache_on(own)}, SESSION_ENGINE=engine)
        assert is_free_of(report, "sessions-in-cache")
