"""What is found in the settings of caches."""

from typing import Any

import pytest
import redis
from django_redis.cache import RedisCache

from redis_optimizer.doctor import Evidence, Severity, examine
from redis_optimizer.doctor.evidence import Alias, Server, Use
from redis_optimizer.embedded import EmbeddedServer
from tests.doctor.sites import (
    PLAIN,
    cache_on,
    counted,
    diagnose,
    is_free_of,
    one,
)

DJANGO = "django.core.cache.backends.redis.RedisCache"


class TestPlainBackend:
    @pytest.mark.parametrize("backend", [PLAIN, DJANGO])
    def test_its_gain_is_the_reads_that_were_seen(
        self, own: EmbeddedServer, client: redis.Redis, backend: str
    ) -> None:
        def reads() -> None:
            for _ in range(30):
                client.get("a")
            client.mget("a", "b")
            client.set("a", 1)

        report = diagnose(reads, CACHES={"default": cache_on(own, backend=backend)})
        finding = one(report, "plain-backend")
        assert finding.change == (
            'CACHES["default"]["BACKEND"] = "redis_optimizer.cache.TieredCache"'
        )
        assert (finding.saves, finding.at_most) == (3.1 * 86_400, True)
        assert "3.1 GET and MGET/s" in finding.arithmetic
        assert "= 267,840 at most" in finding.arithmetic

    def test_without_reads_the_gain_is_unknown(self, own: EmbeddedServer) -> None:
        finding = one(diagnose(CACHES={"default": cache_on(own, backend=PLAIN)}), "plain-backend")
        assert finding.saves is None
        assert "--seconds" in finding.arithmetic

    def test_the_hit_ratio_of_other_tiers_counts(self) -> None:
        alias, server = plain_alias()
        evidence = Evidence(
            aliases=(alias,), servers=(server,), stats=counted(hits=93, misses=7), seconds=10
        )
        finding = one(examine(evidence), "plain-backend")
        assert finding.saves == pytest.approx(32 / 10 * 86_400 * 0.93)
        assert not finding.at_most
        assert finding.arithmetic.endswith("x 0.93, the hit ratio of the site's tiers = 257,126")

    def test_reads_of_others_on_that_server_are_named(self) -> None:
        alias, server = plain_alias(Use(kind="results", name="result_backend"))
        evidence = Evidence(
            aliases=(alias,), servers=(server,), stats=counted(hits=9, misses=1), seconds=10
        )
        finding = one(examine(evidence), "plain-backend")
        assert finding.at_most
        assert finding.arithmetic.endswith("(with those of result_backend)")

    def test_reads_of_several_on_one_server_are_counted_once(
        self, own: EmbeddedServer, client: redis.Redis
    ) -> None:
        caches = {
            "default": cache_on(own, backend=PLAIN),
            "other": cache_on(own, backend=DJANGO, KEY_PREFIX="u"),
        }
        finding = one(diagnose(lambda: client.get("a"), CACHES=caches), "plain-backend")
        assert finding.what.startswith(f'CACHES["default"], CACHES["other"]: {PLAIN} and {DJANGO}')
        assert finding.change == (
            'CACHES["default"]["BACKEND"] = CACHES["other"]["BACKEND"] = '
            '"redis_optimizer.cache.TieredCache"'
        )
        assert finding.saves == 8_640
        assert "(with those of" not in finding.arithmetic

    def test_a_tier_is_none(self, own: EmbeddedServer) -> None:
        locmem = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}
        report = diagnose(CACHES={"default": cache_on(own), "local": locmem})
        assert is_free_of(report, "plain-backend", "tier-off")


def plain_alias(*others: Use) -> tuple[Alias, Server]:
    server = Server(
        address="h:1",
        uses=(Use(kind="cache", name='CACHES["a"]', alias="a"), *others),
        before={"cmdstat_get": "calls=100,usec=1"},
        after={"cmdstat_get": "calls=132,usec=1"},
        seconds=10,
    )
    return Alias(name="a", settings={"BACKEND": PLAIN}, backend=RedisCache, server=server), server


class TestTierOff:
    @pytest.mark.parametrize(("option", "value"), [("ENABLED", False), ("MAX_AGE", 0)])
    def test_it_is_said(self, own: EmbeddedServer, option: str, value: Any) -> None:
        settings = cache_on(own, OPTIONS={"L1": {option: value}})
        finding = one(diagnose(CACHES={"default": settings}), "tier-off")
        assert finding.severity is Severity.INFO
        assert f'["OPTIONS"]["L1"]["{option}"] is {value}' in finding.what

    def test_wrong_options_are_left_to_the_system_check(self, own: EmbeddedServer) -> None:
        settings = cache_on(own, OPTIONS={"L1": {"MAX_AGE": "long"}})
        report = diagnose(CACHES={"default": settings})
        assert is_free_of(report, "tier-off", "ttl-coherence")


class TestTwoAliases:
    def test_one_location_and_other_connection_options(self, own: EmbeddedServer) -> None:
        hasty = cache_on(own, backend=PLAIN, KEY_PREFIX="u", OPTIONS={"SOCKET_TIMEOUT": 1})
        report = diagnose(CACHES={"default": cache_on(own), "other": hasty})
        finding = one(report, "shared-location")
        assert "not the same SOCKET_TIMEOUT" in finding.what

    def test_one_location_and_the_same(self, own: EmbeddedServer) -> None:
        caches = {"default": cache_on(own), "other": cache_on(own, KEY_PREFIX="u")}
        assert is_free_of(diagnose(CACHES=caches), "shared-location", "clashing-aliases")

    def test_the_same_keys_in_another_form(self, own: EmbeddedServer) -> None:
        json = {"SERIALIZER": "django_redis.serializers.json.JSONSerializer"}
        caches = {"default": cache_on(own), "other": cache_on(own, OPTIONS=json)}
        finding = one(diagnose(CACHES=caches), "clashing-aliases")
        assert finding.severity is Severity.ERROR
        assert finding.change == 'CACHES["other"]["KEY_PREFIX"] = "other"'

    @pytest.mark.parametrize("change", [{"KEY_PREFIX": "u"}, {"database": 1}, {"VERSION": 2}])
    def test_other_keys_or_another_database(
        self, own: EmbeddedServer, change: dict[str, Any]
    ) -> None:
        json = {"SERIALIZER": "django_redis.serializers.json.JSONSerializer"}
        other = cache_on(own, OPTIONS=json, **change)
        report = diagnose(CACHES={"default": cache_on(own), "other": other})
        assert is_free_of(report, "clashing-aliases")

    def test_keys_of_another_server(self, own: EmbeddedServer, server: EmbeddedServer) -> None:
        json = {"SERIALIZER": "django_redis.serializers.json.JSONSerializer"}
        caches = {"default": cache_on(own), "other": cache_on(server, OPTIONS=json)}
        assert is_free_of(diagnose(CACHES=caches), "clashing-aliases")
