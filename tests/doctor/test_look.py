"""How the evidence is gathered: what is seen, what it costs, and what happens where it fails."""

import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from redis.sentinel import Sentinel

from redis_optimizer.doctor import Evidence, examine
from redis_optimizer.doctor.evidence import Use, explain
from redis_optimizer.doctor.machine import memory_limit
from redis_optimizer.doctor.places import Place
from redis_optimizer.doctor.visit import Visit, parse_clients, parse_info
from redis_optimizer.embedded import EmbeddedServer
from redis_optimizer.stats.gathered import Gathered
from tests.doctor.sites import PLAIN, Clock, app_on, cache_on, watch
from tests.servers import connect

DJANGO = "django.core.cache.backends.redis.RedisCache"
READS_ONLY = {"info", "client|list", "client|tracking", "client|id", "client|setinfo", "hello"} | {
    *("auth", "get", "ping", "select", "publish", "subscribe"),  # of gather(), and of connecting
    *("psubscribe", "sscan", "zcount", "hscan", "zmscore"),  # of what workers do
    *("scan", "ttl", "object|idletime"),  # of results
}


def calls(client: redis.Redis) -> dict[str, int]:
    stats = client.info("commandstats")
    return {name.removeprefix("cmdstat_"): int(each["calls"]) for name, each in stats.items()}


def spent(client: redis.Redis, look: Any) -> tuple[dict[str, int], Evidence]:
    """Return what the server was asked, beside by the caller, and what came of it."""
    before = calls(client)
    evidence = look()
    after = calls(client)
    asked = {name: count - before.get(name, 0) for name, count in after.items()}
    asked["info"] -= 1
    return {name: count for name, count in asked.items() if count}, evidence


class TestCost:
    @pytest.mark.parametrize("database", [0, 3])
    def test_it_is_what_the_server_counts(
        self, own: EmbeddedServer, client: redis.Redis, database: int
    ) -> None:
        url = f"redis://127.0.0.1:{own.port}/{database}"
        app_on(own, database=database, result_backend=url)
        caches = {
            "default": cache_on(own, database=database),
            "plain": cache_on(own, backend=PLAIN, KEY_PREFIX="p"),
        }
        asked, evidence = spent(client, lambda: watch(CACHES=caches))
        assert evidence.unknown == ()
        assert evidence.commands == sum(asked.values())
        assert set(asked) <= READS_ONLY
        (server,) = evidence.servers
        assert len(server.uses) == 4

    def test_with_a_password(self) -> None:
        with EmbeddedServer(args=("--requirepass", "secret")) as server:
            url = f"redis://:secret@127.0.0.1:{server.port}/0"
            caches = {"default": cache_on(server) | {"LOCATION": url}}
            with redis.Redis.from_url(url) as client:
                asked, evidence = spent(client, lambda: watch(CACHES=caches))
        assert evidence.commands == sum(asked.values())
        assert evidence.servers[0].has_password

    def test_where_no_hello_is_known(self) -> None:
        # As on a server before version 6; a refusal by an ACL is another matter.
        renamed = ("--rename-command", "HELLO", "")
        with EmbeddedServer(args=("--requirepass", "secret", *renamed)) as server:
            url = f"redis://:secret@127.0.0.1:{server.port}/0?protocol=2"
            caches = {"default": cache_on(server, backend=PLAIN) | {"LOCATION": url}}
            with redis.Redis.from_url(url) as client:
                asked, evidence = spent(client, lambda: watch(CACHES=caches))
        assert evidence.servers[0].tracking == ""
        assert evidence.commands == sum(asked.values()) + 1  # what is unknown is not counted

    def test_it_is_not_among_the_rates(self, own: EmbeddedServer) -> None:
        (server,) = watch(CACHES={"default": cache_on(own)}).servers
        assert server.rate() == 0
        assert server.rate("info") == 0

    def test_others_are(self, own: EmbeddedServer, client: redis.Redis) -> None:
        def traffic() -> None:
            for _ in range(5):
                client.info("server")
                client.client_list()

        (server,) = watch(traffic, CACHES={"default": cache_on(own)}).servers
        assert (server.rate("info"), server.rate("client|list"), server.rate()) == (0.5, 0.5, 1.0)

    def test_nor_is_the_time_until_the_servers_are_watched(
        self, own: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A site that takes long to import its tasks goes on counting meanwhile."""
        events = []
        app = app_on(own)
        monkeypatch.setattr(app.loader, "import_default_modules", lambda: events.append("import"))
        looking = import_module("redis_optimizer.doctor.look")
        monkeypatch.setattr(looking, "gather", lambda: events.append("gather") or Gathered())
        watch(lambda: events.append("watch"), CACHES={"default": cache_on(own)})
        assert events == ["import", "gather", "watch", "gather"]

    def test_statistics_that_are_reset_meanwhile_are_no_negative_rate(
        self, own: EmbeddedServer, client: redis.Redis
    ) -> None:
        client.get("a")
        (server,) = watch(client.config_resetstat, CACHES={"default": cache_on(own)}).servers
        assert server.rate("get") == 0


def test_nothing_is_left_on_the_server(own: EmbeddedServer, client: redis.Redis) -> None:
    other = cache_on(own, KEY_PREFIX="u") | {"LOCATION": f"redis://localhost:{own.port}/0"}
    clients = []

    def look() -> None:
        clients.extend(client.client_list())

    watch(look, CACHES={"default": cache_on(own), "other": other})
    assert len(clients) == 2  # one for a server, whatever its names
    assert client.dbsize() == 0
    assert len(client.client_list()) == 1
    assert client.info("stats").get("tracking_clients", 0) == 0


class TestPlaces:
    def test_a_server_with_two_names_is_one(self, own: EmbeddedServer) -> None:
        other = {"LOCATION": f"redis://localhost:{own.port}/2", "KEY_PREFIX": "u"}
        caches = {"default": cache_on(own), "other": cache_on(own) | other}
        evidence = watch(CACHES=caches)
        (server,) = evidence.servers
        assert [(use.name, use.database) for use in server.uses] == [
            ('CACHES["default"]', 0),
            ('CACHES["other"]', 2),
        ]
        assert all(alias.server == server for alias in evidence.aliases)

    def test_djangos_cache_is_where_its_options_say(self, own: EmbeddedServer) -> None:
        options = {"db": "3", "socket_timeout": 7, "serializer": "no.such.Serializer"}
        django = cache_on(own, backend=DJANGO, OPTIONS=options)
        django["LOCATION"] = f"redis://127.0.0.1:{own.port}"
        (server,) = watch(CACHES={"default": django}).servers
        assert [(use.database, use.timeout) for use in server.uses] == [(3, 7)]

    def test_two_servers_are_two(self, own: EmbeddedServer, server: EmbeddedServer) -> None:
        caches = {"default": cache_on(own), "other": cache_on(server)}
        assert len(watch(CACHES=caches).servers) == 2

    def test_a_server_behind_a_socket(self, tmp_path: Path) -> None:
        path = tmp_path / "s"
        with EmbeddedServer(args=("--unixsocket", str(path))) as server:
            caches = {"default": cache_on(server) | {"LOCATION": f"unix://{path}?db=0"}}
            (seen,) = watch(CACHES=caches).servers
        assert (seen.address, seen.is_local) == (str(path), True)

    def test_several_servers_of_one_alias(
        self, own: EmbeddedServer, server: EmbeddedServer
    ) -> None:
        locations = [f"redis://127.0.0.1:{each.port}/0" for each in (own, server)]
        options = {"CLIENT_CLASS": "django_redis.client.ShardClient"}
        sharded = cache_on(own, backend=PLAIN, OPTIONS=options) | {"LOCATION": locations}
        assert len(watch(CACHES={"default": sharded}).servers) == 2

    def test_caches_elsewhere_are_left_alone(self) -> None:
        caches = {
            "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
            "gone": {"BACKEND": "no.such.Cache"},
        }
        evidence = watch(lambda: pytest.fail("nothing to watch"), CACHES=caches)
        assert evidence.servers == ()
        assert not [words for words in evidence.unknown if words.startswith("CACHES")]
        assert [alias.backend is None for alias in evidence.aliases] == [False, True]


class TestFailures:
    def test_a_server_that_is_down(self, own: EmbeddedServer) -> None:
        with EmbeddedServer() as gone:
            url = f"redis://user:secret@127.0.0.1:{gone.port}/0"
        caches = {
            "default": cache_on(own),
            "gone": cache_on(gone, backend=PLAIN) | {"LOCATION": url},
        }
        evidence = watch(CACHES=caches)
        assert len(evidence.servers) == 1
        (unknown,) = evidence.unknown
        assert unknown.startswith('CACHES["gone"]: ConnectionError')
        assert "secret" not in str(examine(evidence).as_dict())

    def test_a_broker_that_is_down(self, own: EmbeddedServer) -> None:
        with EmbeddedServer() as gone:
            app_on(gone)
        evidence = watch(CACHES={"default": cache_on(own)})
        (unknown,) = evidence.unknown
        assert unknown.startswith("broker_url: OperationalError")

    def test_a_server_that_goes_away_meanwhile(self) -> None:
        with EmbeddedServer() as server:
            evidence = watch(server.kill, CACHES={"default": cache_on(server, backend=PLAIN)})
        assert evidence.servers == ()
        assert evidence.unknown[0].startswith(f"127.0.0.1:{server.port}: ConnectionError")

    def test_a_server_that_goes_away_before_it_is_watched(self) -> None:
        with EmbeddedServer() as server:
            pool = redis.ConnectionPool.from_url(server.url)
            visit = Visit(Place(Use(kind="cache", name="cache"), pool), Clock())
            server.kill()
            visit.begin()
        with pytest.raises(redis.ConnectionError) as raised:
            visit.end()
        assert raised.value is visit.error  # nothing more was asked

    @pytest.mark.parametrize(
        ("rule", "unknown"),
        [
            ("-client|list", "the clients of 127.0.0.1:"),
            ("-info", 'CACHES["default"]: NoPermissionError'),
        ],
    )
    def test_what_an_acl_forbids_is_said(
        self, own: EmbeddedServer, rule: str, unknown: str
    ) -> None:
        with connect(own) as client:
            client.execute_command("ACL", "SETUSER", "user", "on", ">secret", "~*", "+@all", rule)
        url = f"redis://user:secret@127.0.0.1:{own.port}/0"
        report = examine(
            watch(CACHES={"default": cache_on(own, backend=PLAIN) | {"LOCATION": url}})
        )
        assert [words for words in report.unknown if words.startswith(unknown)]
        assert "secret" not in str(report.as_dict())

    def test_a_url_that_is_none(self) -> None:
        caches = {"default": {"BACKEND": PLAIN, "LOCATION": "http://user:secret@h"}}
        report = examine(watch(CACHES=caches))
        assert report.unknown[0].startswith('CACHES["default"]: ')
        assert "secret" not in str(report.as_dict())


def test_of_an_error_that_names_the_whole_client_the_reason_is_left() -> None:
    options = {"password": "secret", "retry": Retry(NoBackoff(), 0)}
    sentinel = Sentinel([("127.0.0.1", 1)], sentinel_kwargs=options)
    with pytest.raises(redis.ConnectionError) as raised:
        sentinel.discover_master("main")
    assert explain(raised.value) == "MasterNotFoundError: No master found for 'main'"
    assert len(explain(ValueError("long " * 1_000))) <= 300


def test_what_servers_answer_is_read() -> None:
    assert parse_info(b"# Server\r\nrun_id:a\r\nos:Linux: x\r\n\r\n") == {
        "run_id": "a",
        "os": "Linux: x",
    }
    assert parse_clients(b"id=1 name= cmd=client|list\nid=2 addr=h:1\n") == (
        {"id": "1", "name": "", "cmd": "client|list"},
        {"id": "2", "addr": "h:1"},
    )


def test_a_container_may_use_less_than_the_machine_has(tmp_path: Path) -> None:
    own, none = tmp_path / "own", tmp_path / "none"
    own.write_text("1048576\n")
    none.write_text("max\n")
    assert memory_limit([own, none, tmp_path / "gone"]) == 1024**2
    whole = memory_limit([none])
    assert whole is not None
    assert whole > 1024**2


def test_without_celery_none_is_loaded() -> None:
    code = """
import django, sys; django.setup()
from redis_optimizer.doctor import Evidence, examine
from redis_optimizer.doctor.places import loaded_app
assert loaded_app() is None
assert examine(Evidence()).unknown == ()
assert not {"celery", "kombu"} & set(sys.modules)
"""
    env = {"DJANGO_SETTINGS_MODULE": "tests.settings"}
    subprocess.run([sys.executable, "-c", code], env=env, check=True)
