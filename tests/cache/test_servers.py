"""Servers that are not plain: TLS, sockets, passwords, RESP2, Sentinel, and those that refuse."""

import logging
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from redis_optimizer.cache import TieredCache, registry
from redis_optimizer.embedded import HOST, EmbeddedServer, free_port
from tests.relay import Relay
from tests.servers import connect, sentinel, wait_until

from .caches import PREFIX, QUICK, QUIET, channels, is_kept, keep, plain, tiered, wait_dropped
from .clusters import CLIENT

USER = "site"
LASTING = {**QUICK, "EXACT_TTL": True}  # what is read lasts for longer than trust does
# What django-redis needs beside its keys, and CLIENT TRACKING.
NEEDED = ("+@read", "+@write", "+@connection", "+@transaction", "+client|tracking", "+client|id")


def hears(cache: TieredCache, url: str, **options: Any) -> None:
    """Assert that the cache keeps what it reads, and hears when somebody else writes it."""
    keep(cache, {"k": 1})
    plain(url, **options).set("k", 2)
    wait_dropped(cache, "k")
    assert cache.get("k") == 2
    assert cache.stats()["coherence"] == "tracking"


@pytest.fixture
def users(admin: redis.Redis) -> Iterator[redis.Redis]:
    yield admin
    admin.acl_deluser(USER)


def make_user(admin: redis.Redis, server: EmbeddedServer, rules: Sequence[str]) -> str:
    """Make a user with a password and these rules; return the URL to come in by."""
    admin.execute_command("ACL", "SETUSER", USER, "reset", "on", ">secret", *rules)
    return f"redis://{USER}:secret@{HOST}:{server.port}/0"


def test_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with EmbeddedServer(args=["--unixsocket", str(path)]):
        url = f"unix://{path}?db=0"
        hears(tiered(url), url)


def test_a_password(server: EmbeddedServer) -> None:
    with EmbeddedServer(args=["--requirepass", "secret"]) as own:
        hears(tiered(own.url, PASSWORD="secret"), own.url, PASSWORD="secret")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return a certificate for the loopback address, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    made = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"),
            *("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"),
            *("-out", str(made[0]), "-keyout", str(made[1])),
        ],
        check=True,
        capture_output=True,
    )
    return made


@pytest.mark.skipif(
    not (shutil.which("redis-server") and shutil.which("openssl")) and "CI" not in os.environ,
    reason="the wheel's server speaks no TLS: install redis-server and openssl",
)
def test_tls(certificate: tuple[Path, Path]) -> None:
    port = free_port()
    cert, key = map(str, certificate)
    args = ["--tls-port", str(port), "--tls-auth-clients", "no", "--tls-ca-cert-file", cert]
    args += ["--tls-cert-file", cert, "--tls-key-file", key]
    with EmbeddedServer(binary=shutil.which("redis-server"), args=args) as own:
        url = f"rediss://{HOST}:{port}/0"
        pool = {"ssl_ca_certs": cert}
        hears(tiered(url, CONNECTION_POOL_KWARGS=pool), own.url)


@pytest.mark.skipif(
    not (shutil.which("redis-server") and shutil.which("openssl")) and "CI" not in os.environ,
    reason="the wheel's server speaks no TLS: install redis-server and openssl",
)
def test_a_cluster_of_one_node_with_tls(certificate: tuple[Path, Path]) -> None:
    port = free_port()
    cert, key = map(str, certificate)
    args = ["--cluster-enabled", "yes", "--tls-cluster", "yes", "--cluster-port", str(free_port())]
    args += ["--tls-port", str(port), "--tls-auth-clients", "no", "--tls-ca-cert-file", cert]
    args += ["--tls-cert-file", cert, "--tls-key-file", key]
    with EmbeddedServer(binary=shutil.which("redis-server"), args=args) as own:
        with connect(own) as client:
            client.execute_command("CLUSTER ADDSLOTSRANGE", 0, 16_383)
            wait_until(lambda: client.cluster("INFO")["cluster_state"] == "ok")
        pool = {"ssl_ca_certs": cert}
        hears(
            tiered(f"rediss://{HOST}:{port}", CLIENT_CLASS=CLIENT, CONNECTION_POOL_KWARGS=pool),
            own.url,
        )


def test_a_server_or_proxy_without_hello_is_heard_by_resp2() -> None:
    resp2 = {"protocol": 2}
    with EmbeddedServer(args=["--rename-command", "HELLO", ""]) as own:
        cache = tiered(own.url, l1=QUICK, CONNECTION_POOL_KWARGS=resp2)
        assert cache.tier.channel is not None
        assert cache.tier.channel.protocol == 2
        hears(cache, own.url, CONNECTION_POOL_KWARGS=resp2)
        with redis.Redis(HOST, own.port, protocol=2) as raw:
            keep(cache, {"k": 1})
            raw.flushdb()
            wait_dropped(cache, "k")
            alive = cache.tier.store.valid_until
            wait_until(lambda: cache.get("k") is None and cache.tier.store.valid_until > alive)


def test_a_user_with_the_rules_that_are_needed(server: EmbeddedServer, users: redis.Redis) -> None:
    url = make_user(users, server, [f"~{PREFIX}:*", "&redis_optimizer:*", *NEEDED])
    hears(tiered(url), url)


def test_a_user_who_may_not_subscribe_is_told_all_the_same(
    server: EmbeddedServer, users: redis.Redis
) -> None:
    url = make_user(users, server, [f"~{PREFIX}:*", *NEEDED])
    hears(tiered(url), url)


class TestRefused:
    @pytest.fixture
    def refused(self, server: EmbeddedServer, users: redis.Redis) -> TieredCache:
        url = make_user(users, server, ["~*", "&*", "+@all", "-client|tracking"])
        return tiered(url, l1={**QUIET, "HEARTBEAT": 1, "MAX_STALENESS": 3})

    def test_values_are_kept_for_the_bound_at_most(self, refused: TieredCache) -> None:
        assert refused.stats()["coherence"] == "refused"
        refused.set("k", 1)
        assert refused.get("k") == 1
        store = refused.tier.store
        assert 0 < store.entries[f"{PREFIX}:1:k"].expires_at - store.now() <= 3
        assert refused.stats()["staleness_bound"] == 3

    def test_a_miss_is_not_remembered(self, refused: TieredCache, url: str) -> None:
        assert refused.get("k") is None
        plain(url).set("k", 1)
        assert refused.get("k") == 1

    def test_own_writes_are_seen_at_once(self, refused: TieredCache) -> None:
        for value in range(3):
            refused.set("k", value)
            assert refused.get("k") == value
            assert is_kept(refused, "k")

    def test_it_is_said_once(
        self, refused: TieredCache, caplog: pytest.LogCaptureFixture, monkeypatch: Any
    ) -> None:
        caplog.clear()
        with caplog.at_level(logging.WARNING, "redis_optimizer"):
            monkeypatch.setattr("redis_optimizer.channel.REFUSED_FIRST", 0.05)
            monkeypatch.setattr("redis_optimizer.channel.REFUSED_LONGEST", 0.05)
            registry.shutdown()
            assert refused.tier.wait_ready(10)
            channel = refused.tier.channel
            assert channel is not None
            opens: list[object] = []
            monkeypatch.setattr(refused.tier, "on_refused", opens.append)
            wait_until(lambda: len(opens) >= 3)
        assert len(caplog.records) == 1
        assert "COHERENCE" in caplog.text

    def test_it_is_tried_again(
        self, server: EmbeddedServer, users: redis.Redis, monkeypatch: Any
    ) -> None:
        monkeypatch.setattr("redis_optimizer.channel.REFUSED_FIRST", 0.05)
        rules = ["~*", "&*", "+@all"]
        url = make_user(users, server, [*rules, "-client|tracking"])
        cache = tiered(url)
        assert cache.stats()["coherence"] == "refused"
        users.execute_command("ACL", "SETUSER", USER, *rules)
        wait_until(lambda: cache.stats()["coherence"] == "tracking")
        hears(cache, url)

    def test_a_probe_that_nobody_tells_of_is_a_refusal(
        self, server: EmbeddedServer, monkeypatch: Any
    ) -> None:
        monkeypatch.setattr("redis_optimizer.proof.PROBE_TIMEOUT", 0.2)
        with EmbeddedServer() as other:
            monkeypatch.setattr(
                "redis_optimizer.cache.tier.Tier.prove",
                lambda tier, key: connect(other).set(key, ""),
            )
            assert tiered(server.url).stats()["coherence"] == "refused"


class TestAnAddressThatMeansAnotherServer:
    """What is connected stays so: the channel hears no end, and its PINGs are answered."""

    @pytest.fixture
    def relay(self, server: EmbeddedServer) -> Iterator[Relay]:
        with Relay(server.port) as relay:
            yield relay

    @pytest.fixture
    def other(self) -> Iterator[EmbeddedServer]:
        with EmbeddedServer() as server:
            yield server

    def test_the_channel_moves_there(self, relay: Relay, other: EmbeddedServer) -> None:
        cache = tiered(relay.url, l1=LASTING)
        keep(cache, {"k": 1})
        there = plain(other.url)
        there.set("n", 1)
        relay.port = other.port
        cache.client.get_client().connection_pool.disconnect()  # it was idle for long, say
        assert cache.get("n") == 1
        there.set("n", 2)  # of which only that server tells
        wait_until(lambda: cache.get("n") == 2)
        with connect(other) as raw:
            wait_until(lambda: len(channels(raw)) == 1 and cache.tier.ready)
        hears(cache, other.url)

    def test_it_stays_where_it_means_the_same(
        self, relay: Relay, server: EmbeddedServer, admin: redis.Redis
    ) -> None:
        cache = tiered(relay.url, l1=LASTING)
        keep(cache, {"k": 1})
        channel = cache.tier.channel
        for probes in (1, 2):
            before = admin.info("commandstats")["cmdstat_set"]["calls"]
            cache.client.get_client().connection_pool.disconnect()
            cache.has_key("other")  # a new connection

            def proved(before: int = before) -> bool:
                cache.get("k")  # else there is no PING
                return bool(admin.info("commandstats")["cmdstat_set"]["calls"] > before)

            wait_until(proved)
            assert channel is not None
            assert (channel.connects, probes) == (1, probes)
        assert is_kept(cache, "k")

    def test_what_cannot_be_told_is_not_trusted(
        self, relay: Relay, server: EmbeddedServer, users: redis.Redis
    ) -> None:
        cache = tiered(relay.url, l1=LASTING)
        keep(cache, {"k": 1})
        users.execute_command("CONFIG", "SET", "maxmemory", "1")  # no write is taken
        try:
            cache.client.get_client().connection_pool.disconnect()
            cache.has_key("other")
            wait_until(lambda: cache.has_key("k") and not is_kept(cache, "k"))
        finally:
            users.execute_command("CONFIG", "SET", "maxmemory", "0")
        wait_until(lambda: cache.get("k") and is_kept(cache, "k"))
        assert cache.tier.channel is not None
        assert cache.tier.channel.connects == 1


def test_sentinel_names_another_master_and_the_channel_moves() -> None:
    with sentinel() as group:
        url = f"redis://{group.name}/1"
        options: dict[str, Any] = {
            "CLIENT_CLASS": "django_redis.client.SentinelClient",
            "CONNECTION_FACTORY": "django_redis.pool.SentinelConnectionFactory",
            "SENTINELS": group.addresses,
            "SENTINEL_KWARGS": {"retry": Retry(NoBackoff(), 0), "socket_timeout": 1},
        }
        cache = tiered(url, l1=QUICK, **options)
        keep(cache, {"k": 1})
        with connect(group.primary) as raw:
            assert len(channels(raw)) == 1
        group.primary.kill()
        replica = connect(group.replica)
        wait_until(lambda: replica.info("replication")["role"] == "master")

        def moved() -> bool:
            try:
                cache.get("k")  # a process that does not read sends no PING
            except redis.RedisError:
                return False
            return len(channels(replica)) == 1 and cache.tier.ready

        wait_until(moved)
        keep(cache, {"k": 2})
        plain(url, **options).set("k", 3)
        wait_dropped(cache, "k")
        assert cache.get("k") == 3
        replica.close()
