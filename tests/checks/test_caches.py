"""The system checks: each likely mis-installation is named, with a hint that mends it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import redis
from django.core import checks
from django.test import override_settings

from redis_optimizer.cache import TieredCache
from redis_optimizer.checks import check_caches, check_settings
from redis_optimizer.conf import ENABLED_VARIABLE, get_settings
from redis_optimizer.embedded import EmbeddedServer

TIERED = "redis_optimizer.cache.TieredCache"
PLAIN = "django_redis.cache.RedisCache"


@pytest.fixture(autouse=True)
def _fresh_settings(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv(ENABLED_VARIABLE, raising=False)
    get_settings.cache_clear()
    yield
    get_settings.cache_clear()


class OurCache(TieredCache):
    """A backend of the site's own."""


def alias(
    *, backend: str = TIERED, location: object = "redis://127.0.0.1:1/0", **settings: Any
) -> dict[str, Any]:
    return {"BACKEND": backend, "LOCATION": location, "KEY_PREFIX": "t", **settings}


def found(**caches: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the id and the first quoted alias of each message, and assert that it has a hint."""
    with override_settings(CACHES={"default": alias(), **caches}):
        messages = check_caches()
    assert all(message.hint for message in messages)
    return [(str(m.id), m.msg.split('"')[1]) for m in messages]


def l1(**options: Any) -> dict[str, Any]:
    return {"L1": options}


def dated_key(key: str, prefix: str, version: int) -> str:
    return f"2024:{prefix}:{version}:{key}"


def tagged_key(key: str, prefix: str, version: int) -> str:
    return f"{prefix}:{version}:tag:{key}"


class TestSettings:
    def test_a_site_without_the_setting_is_right(self) -> None:
        assert check_settings() == []

    @pytest.mark.parametrize("given", [{"ENABLE": True}, {"NAMESPACE": 5}, None])
    def test_e001_a_wrong_setting(self, given: object) -> None:
        with override_settings(REDIS_OPTIMIZER=given):
            (message,) = check_settings()
        assert message.id == "redis_optimizer.E001"
        assert message.level == checks.ERROR
        assert "REDIS_OPTIMIZER" in message.msg
        assert message.hint

    def test_e001_a_wrong_variable(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(ENABLED_VARIABLE, "maybe")
        (message,) = check_settings()
        assert message.id == "redis_optimizer.E001"
        assert "REDIS_OPTIMIZER_ENABLED" in message.msg
        assert message.hint

    def test_e001_is_said_once_and_not_for_each_cache(self) -> None:
        with override_settings(REDIS_OPTIMIZER={"ENABLE": True}, CACHES={"default": alias()}):
            assert check_caches() == []


class TestOptions:
    def test_a_tier_as_it_comes_is_right(self) -> None:
        assert found(default=alias(), other=alias(OPTIONS=l1(MAX_AGE=60))) == []

    @pytest.mark.parametrize(
        "wrong",
        [
            {"OPTIONS": l1(MAX_AGE=-1)},
            {"OPTIONS": l1(MAX_AGES=1)},
            {"OPTIONS": {"L1": None}},
            {"OPTIONS": {"CLIENT_CLASS": "nowhere.Client"}},
            {"KEY_FUNCTION": "nowhere.make_key"},
            {"location": ""},
        ],
        ids=repr,
    )
    def test_e002_a_cache_that_cannot_be_made(self, wrong: dict[str, Any]) -> None:
        assert found(default=alias(), wrong=alias(**wrong)) == [("redis_optimizer.E002", "wrong")]

    def test_e002_names_the_option(self) -> None:
        with override_settings(CACHES={"default": alias(OPTIONS=l1(HEARTBEAT="5"))}):
            (message,) = check_caches()
        assert message.level == checks.ERROR
        assert 'OPTIONS["L1"]["HEARTBEAT"]' in message.msg

    def test_another_backend_may_have_any_options(self) -> None:
        locmem = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "OPTIONS": l1(A=1)}
        assert found(other=alias(backend=PLAIN, OPTIONS=l1(MAX_AGE=-1)), local=locmem) == []

    @pytest.mark.parametrize("backend", ["nowhere.Cache", "redis_optimizer.cache.Absent", ""])
    def test_a_backend_that_does_not_exist_is_for_django_to_tell(self, backend: str) -> None:
        assert found(other=alias(backend=backend)) == []

    def test_a_backend_made_from_ours_is_checked_as_well(self) -> None:
        backend = f"{__name__}.OurCache"
        wrong = alias(backend=backend, OPTIONS=l1(MAX_AGE=-1))
        assert found(wrong=wrong) == [("redis_optimizer.E002", "wrong")]


class TestClients:
    @pytest.mark.parametrize(
        "name", ["herd.HerdClient", "sharded.ShardClient", "default.DefaultClient"]
    )
    def test_w001_a_client_that_reads_in_a_way_of_its_own(self, name: str) -> None:
        location = ["redis://127.0.0.1:1/0", "redis://127.0.0.1:1/1"]
        client = {"CLIENT_CLASS": f"django_redis.client.{name}"}
        expected = [] if "Default" in name else [("redis_optimizer.W001", "own")]
        assert found(own=alias(location=location, OPTIONS=client)) == expected

    @pytest.mark.parametrize("options", [l1(ENABLED=False), l1(MAX_AGE=0)], ids=repr)
    def test_w001_is_not_said_where_the_tier_is_off(self, options: dict[str, Any]) -> None:
        client = {"CLIENT_CLASS": "django_redis.client.HerdClient"}
        assert found(own=alias(OPTIONS={**options, **client})) == []


class TestPrefixes:
    def test_w002_keys_outside_the_prefixes(self) -> None:
        outside = alias(KEY_FUNCTION=f"{__name__}.dated_key")
        assert found(outside=outside) == [("redis_optimizer.W002", "outside")]

    def test_w002_a_prefix_that_fits_no_key(self) -> None:
        assert found(o=alias(OPTIONS=l1(PREFIXES=["site:"]))) == [("redis_optimizer.W002", "o")]

    def test_w002_shows_a_key_and_the_prefixes(self) -> None:
        with override_settings(CACHES={"default": alias(OPTIONS=l1(PREFIXES=["a:", "b:"]))}):
            (message,) = check_caches()
        assert message.level == checks.WARNING
        assert "'t:1:key'" in message.msg
        assert "'a:', 'b:'" in message.msg

    @pytest.mark.parametrize(
        "settings",
        [
            {"KEY_FUNCTION": f"{__name__}.tagged_key"},
            {"KEY_FUNCTION": f"{__name__}.dated_key", "OPTIONS": l1(PREFIXES=["2024:"])},
            {"KEY_FUNCTION": f"{__name__}.dated_key", "OPTIONS": l1(ENABLED=False)},
            {"KEY_PREFIX": ""},
            {"VERSION": 5},
        ],
        ids=repr,
    )
    def test_keys_within_the_prefixes_are_right(self, settings: dict[str, Any]) -> None:
        assert found(within=alias(**settings)) == []


class TestLocations:
    PASSWORD: dict[str, Any] = {"PASSWORD": "secret"}  # noqa: RUF012

    def test_w003_one_pool_with_two_sets_of_options(self) -> None:
        second = alias(OPTIONS=self.PASSWORD)
        assert found(second=second) == [("redis_optimizer.W003", "default")]

    def test_w003_names_both_and_no_secret(self) -> None:
        with override_settings(CACHES={"default": alias(), "b": alias(OPTIONS=self.PASSWORD)}):
            (message,) = check_caches()
        assert message.level == checks.WARNING
        assert 'CACHES["default"] and CACHES["b"]' in message.msg
        assert "secret" not in f"{message.msg}{message.hint}"

    @pytest.mark.parametrize(
        "second",
        [
            alias(),
            alias(OPTIONS=l1(MAX_AGE=60), KEY_PREFIX="other"),
            alias(OPTIONS={"PASSWORD": "secret"}, location="redis://127.0.0.1:1/1"),
            alias(OPTIONS={"PASSWORD": "secret"}, location="redis://127.0.0.1:1/0?b=1"),
        ],
        ids=repr,
    )
    def test_two_caches_that_agree_are_right(self, second: dict[str, Any]) -> None:
        assert found(second=second) == []


class TestOutages:
    STALE = alias(OPTIONS=l1(STALE_IF_ERROR=60))

    @pytest.mark.parametrize("engine", ["cache", "cached_db"])
    def test_e003_sessions_are_never_served_stale(self, engine: str) -> None:
        with override_settings(
            SESSION_ENGINE=f"django.contrib.sessions.backends.{engine}",
            SESSION_CACHE_ALIAS="sessions",
        ):
            assert found(sessions=self.STALE) == [("redis_optimizer.E003", "sessions")]
            assert found(other=self.STALE) == []

    @pytest.mark.parametrize(
        "sessions",
        [
            {"SESSION_ENGINE": "django.contrib.sessions.backends.db"},
            {"SESSION_ENGINE": "django.contrib.sessions.backends.signed_cookies"},
            {"SESSION_ENGINE": "no.such.engine"},
        ],
        ids=lambda given: given["SESSION_ENGINE"],
    )
    def test_sessions_elsewhere_are_right(self, sessions: dict[str, str]) -> None:
        with override_settings(**sessions):
            assert found(default=self.STALE) == []

    @pytest.mark.parametrize(
        "options",
        [
            {"STALE_IF_ERROR": 0},
            {"STALE_IF_ERROR": 60, "ENABLED": False},
            {"STALE_IF_ERROR": 60, "EXCLUDE": ["django.contrib.sessions.*"]},
        ],
        ids=repr,
    )
    def test_sessions_that_are_not_kept_are_right(self, options: dict[str, Any]) -> None:
        with override_settings(SESSION_ENGINE="django.contrib.sessions.backends.cache"):
            assert found(default=alias(OPTIONS=l1(**options))) == []

    def test_w008_a_backend_that_does_not_sign(self) -> None:
        def plain(signed: bool) -> dict[str, Any]:
            where = "redis://127.0.0.1:5"
            return alias(backend=PLAIN, location=where, OPTIONS={"SIGNED": signed})

        assert found(other=plain(True)) == [("redis_optimizer.W008", "other")]
        assert found(other=plain(False)) == []
        assert found(default=alias(OPTIONS={"SIGNED": True})) == []

    @pytest.fixture
    def _may_hang(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let a timeout that is not given be none, as before redis-py 8."""
        pool = {"socket_timeout": None}
        monkeypatch.setitem(self.PLAIN["OPTIONS"], "CONNECTION_POOL_KWARGS", pool)

    PLAIN = alias(location="redis://127.0.0.1:2/0", OPTIONS={})

    @pytest.mark.usefixtures("_may_hang")
    def test_w004_a_breaker_without_a_timeout(self) -> None:
        assert found(other=self.PLAIN) == []
        with override_settings(REDIS_OPTIMIZER={"BREAKER_AFTER": 3}):
            # django-redis keeps a pool for each URL: not another test's.
            timed = alias(location="redis://127.0.0.1:4/0", OPTIONS={"SOCKET_TIMEOUT": 1})
            assert found(default=timed, other=self.PLAIN) == [("redis_optimizer.W004", "other")]

    def test_a_breaker_with_a_timeout_is_right(self) -> None:
        with override_settings(REDIS_OPTIMIZER={"BREAKER_AFTER": 3}):
            timed = alias(location="redis://127.0.0.1:3/0", OPTIONS={"SOCKET_TIMEOUT": 1})
            assert found(default=timed) == []


def test_the_checks_are_registered() -> None:
    assert {check_caches, check_settings} <= set(checks.registry.registry.get_checks())
    second = alias(OPTIONS={"PASSWORD": "secret"})
    with override_settings(CACHES={"default": alias(), "second": second}):
        found = checks.run_checks(tags=[checks.Tags.caches])
        assert [message.id for message in found] == ["redis_optimizer.W003"]


def test_the_checks_send_nothing(server: EmbeddedServer, admin: redis.Redis) -> None:
    before = admin.info("stats")["total_connections_received"]
    assert found(default=alias(location=server.url)) == []
    assert admin.info("stats")["total_connections_received"] == before
