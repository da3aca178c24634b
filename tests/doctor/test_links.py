"""What is found about connections, on real servers."""

from typing import Any

import pytest
import redis
from django.test import override_settings

from redis_optimizer.connections import cache_options
from redis_optimizer.doctor import Evidence, Severity, examine
from redis_optimizer.doctor.evidence import Server
from redis_optimizer.embedded import EmbeddedServer
from tests.doctor.sites import PLAIN, cache_on, diagnose, is_free_of, one
from tests.servers import connect


def with_options(server: EmbeddedServer, **options: Any) -> dict[str, Any]:
    # The pool of a URL is made once in a process: a query string gives it one of its own.
    settings = cache_on(server, backend=PLAIN, OPTIONS=options)
    location = f"{settings['LOCATION']}?health_check_interval={1 + next(_numbers)}"
    return {"CACHES": {"default": settings | {"LOCATION": location}}}


_numbers = iter(range(1_000))


class TestReconnecting:
    @pytest.fixture
    def connects(self, own: EmbeddedServer) -> Any:
        def connect_often() -> None:
            for _ in range(20):
                with connect(own) as client:
                    client.ping()

        return connect_often

    def test_connections_that_are_closed_after_each_request(
        self, own: EmbeddedServer, connects: Any
    ) -> None:
        report = diagnose(connects, **with_options(own, CLOSE_CONNECTION=True))
        finding = one(report, "reconnecting")
        where = 'CACHES["default"]["OPTIONS"]["CLOSE_CONNECTION"]'
        assert finding.what.startswith(f"{where} is True")
        assert finding.change == f"{where} = False"
        assert finding.saves
        assert finding.saves >= 20 * 2 / 10 * 86_400  # redis-py 6 sends two CLIENT SETINFO

    def test_the_same_by_a_setting_of_the_site(self, own: EmbeddedServer) -> None:
        with override_settings(DJANGO_REDIS_CLOSE_CONNECTION=True):
            finding = one(diagnose(**with_options(own)), "reconnecting")
        assert finding.change == "DJANGO_REDIS_CLOSE_CONNECTION = False"
        assert finding.saves is None

    def test_clients_that_connect_again_and_again(self, own: EmbeddedServer, connects: Any) -> None:
        finding = one(diagnose(connects, **with_options(own)), "reconnecting")
        assert "2.0 times a second" in finding.what

    def test_clients_that_stay(self, own: EmbeddedServer) -> None:
        def connect_once() -> None:
            with connect(own) as client:
                client.ping()

        assert is_free_of(diagnose(connect_once, **with_options(own)), "reconnecting")


class TestTimeouts:
    def test_no_timeout(self, own: EmbeddedServer) -> None:
        settings = with_options(own, CONNECTION_POOL_KWARGS={"socket_timeout": None})
        assert 'CACHES["default"]' in one(diagnose(**settings), "no-timeout").what

    def test_a_timeout(self, own: EmbeddedServer) -> None:
        assert is_free_of(diagnose(**with_options(own, SOCKET_TIMEOUT=3)), "no-timeout")

    def test_the_options_that_we_recommend(self, own: EmbeddedServer) -> None:
        options = cache_options(f"redis://127.0.0.1:{own.port}/0")
        report = diagnose(**with_options(own, **options))
        assert is_free_of(report, "no-timeout", "reconnecting")


class TestClients:
    def test_nearly_as_many_as_there_may_be(self, own: EmbeddedServer, client: redis.Redis) -> None:
        client.config_set("maxclients", 4)
        others = [connect(own) for _ in range(2)]
        try:
            assert all(other.ping() for other in others)
            report = diagnose(**with_options(own))
        finally:
            for other in others:
                other.close()
        finding = one(report, "clients-full")
        assert finding.severity is Severity.WARNING
        assert "4 of 4 clients" in finding.what

    def test_some_were_refused(self) -> None:
        server = Server(
            address="h:1",
            before={"rejected_connections": "5"},
            after={"rejected_connections": "25", "connected_clients": "9", "maxclients": "100"},
            seconds=10,
            clients=({"idle": "301"}, {"idle": "3"}),
        )
        finding = one(examine(Evidence(servers=(server,))), "clients-full")
        assert finding.severity is Severity.ERROR
        assert "refused 2.0 a second; 1 of them said nothing" in finding.what

    def test_there_is_room(self, own: EmbeddedServer) -> None:
        assert is_free_of(diagnose(**with_options(own)), "clients-full")
