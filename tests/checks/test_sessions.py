"""The check of where sessions are: nobody is logged out, or in again, by chance."""

from __future__ import annotations

from typing import Any

import pytest
import redis
from django.core import checks
from django.test import override_settings

from redis_optimizer.checks import check_sessions
from redis_optimizer.connections import Cluster
from redis_optimizer.embedded import EmbeddedServer

from .test_caches import PLAIN, TIERED, alias

OURS = "redis_optimizer.contrib.sessions"
DJANGOS = "django.contrib.sessions.backends."
# django-redis keeps a pool for each URL: not one of the tests beside.
URL = "redis://127.0.0.1:8/"
LOCMEM = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}


def found(
    engine: str = OURS, where: str = "sessions", **caches: dict[str, Any]
) -> list[checks.CheckMessage]:
    with override_settings(
        CACHES={"default": alias(location=URL + "0"), **caches},
        SESSION_ENGINE=engine,
        SESSION_CACHE_ALIAS=where,
    ):
        messages = check_sessions()
    assert all(message.hint for message in messages)
    return messages


def ids(messages: list[checks.CheckMessage]) -> list[str]:
    return [str(message.id) for message in messages]


class TestClearing:
    @pytest.mark.parametrize("engine", [OURS, DJANGOS + "cache"])
    @pytest.mark.parametrize("backend", [TIERED, PLAIN])
    def test_w005_another_cache_in_the_database(self, engine: str, backend: str) -> None:
        own = alias(location=URL + "0", KEY_PREFIX="own")
        default = alias(backend=backend, location=URL + "0")
        (message,) = found(engine, sessions=own, default=default)
        assert message.id == "redis_optimizer.W005"
        assert message.level == checks.WARNING
        assert message.msg.startswith('CACHES["sessions"] holds sessions')
        assert 'CACHES["default"]' in message.msg

    @pytest.mark.parametrize("engine", [OURS, DJANGOS + "cache"])
    def test_w005_the_cache_of_the_site(self, engine: str) -> None:
        (message,) = found(engine, where="default")
        assert message.id == "redis_optimizer.W005"
        assert "cache.clear()" in message.msg

    def test_w005_one_database_however_it_is_named(self) -> None:
        user = "redis://somebody:secret@127.0.0.1:8"
        (message,) = found(sessions=alias(location=user))
        assert message.id == "redis_optimizer.W005"
        assert "secret" not in f"{message.msg}{message.hint}"

    def test_w005_one_cluster_whichever_nodes_are_named(self) -> None:
        clustered = {"CLIENT_CLASS": "redis_optimizer.cache.cluster.ClusterClient"}
        one = alias(location=[URL, "redis://127.0.0.1:2"], KEY_PREFIX="own", OPTIONS=clustered)
        other = alias(location=URL, OPTIONS=clustered)
        (message,) = found(sessions=one, default=other)
        assert message.id == "redis_optimizer.W005"
        assert 'CACHES["default"]' in message.msg

    def test_w005_another_cache_in_the_cluster(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Cluster, "client", lambda self: pytest.fail("It asked a node."))
        client = {"CLIENT_CLASS": "redis_optimizer.cache.cluster.ClusterClient"}
        one, other = (alias(location=f"redis://127.0.0.1:{n}", OPTIONS=client) for n in (8, 9))
        (message,) = found(sessions=one, default=one)
        assert message.id == "redis_optimizer.W005"
        assert found(sessions=one, default=other) == []

    @pytest.mark.parametrize("location", [URL + "1", "redis://127.0.0.1:9/0", "unix:///x?db=0"])
    def test_a_database_of_their_own_is_right(self, location: str) -> None:
        assert found(sessions=alias(location=location)) == []

    @pytest.mark.parametrize("engine", ["db", "cached_db", "signed_cookies", "no_such"])
    def test_sessions_that_are_elsewhere_as_well_are_right(self, engine: str) -> None:
        assert found(DJANGOS + engine, where="default") == []

    def test_a_site_that_uses_nothing_of_ours_is_left_alone(self) -> None:
        plain = alias(backend=PLAIN, location=URL + "0")
        assert found(DJANGOS + "cache", where="default", default=plain) == []
        assert found(DJANGOS + "cache", where="default", default=LOCMEM) == []


class TestWriting:
    def test_w006_a_backend_that_cannot_look_as_it_writes(self) -> None:
        (message,) = found(sessions=LOCMEM)
        assert message.id == "redis_optimizer.W006"
        assert message.level == checks.WARNING
        assert message.msg.startswith('CACHES["sessions"]')

    def test_w006_a_client_that_does_not_let_redis_look(self) -> None:
        herd = {"CLIENT_CLASS": "django_redis.client.HerdClient"}
        for backend in (TIERED, PLAIN):
            own = alias(backend=backend, location=URL + "1", OPTIONS=herd)
            assert ids(found(sessions=own)) == ["redis_optimizer.W006"]

    def test_plain_django_redis_is_right(self) -> None:
        assert found(sessions=alias(backend=PLAIN, location=URL + "1")) == []

    def test_with_djangos_engine_any_backend_is(self) -> None:
        assert found(DJANGOS + "cache", sessions=LOCMEM) == []


@pytest.mark.parametrize(
    "broken",
    [{"location": "nonsense://"}, {"backend": "nowhere.Cache"}, {"OPTIONS": {"L1": None}}],
    ids=repr,
)
def test_what_another_check_tells_of_is_not_told_again(broken: dict[str, Any]) -> None:
    assert found(sessions=alias(**broken)) == []
    assert found(sessions=alias(location=URL + "1"), broken=alias(**broken)) == []
    assert found(where="nowhere") == []
    with override_settings(REDIS_OPTIMIZER={"ENABLE": True}):
        assert found(where="default") == []


def test_it_is_registered_and_sends_nothing(server: EmbeddedServer, admin: redis.Redis) -> None:
    before = admin.info("stats")["total_connections_received"]
    with override_settings(CACHES={"default": alias(location=server.url)}, SESSION_ENGINE=OURS):
        messages = checks.run_checks(tags=[checks.Tags.caches])
    assert ids(messages) == ["redis_optimizer.W005"]
    assert admin.info("stats")["total_connections_received"] == before
