"""What is found about servers: real ones, set the wrong way and the right way."""

import pytest
import redis

from redis_optimizer.doctor import Evidence, Severity, examine
from redis_optimizer.doctor.evidence import Server, Use
from redis_optimizer.embedded import EmbeddedServer
from tests.doctor.sites import app_on, cache_on, diagnose, is_free_of, one

MEMORY = 64 * 1024**2


def limit(client: redis.Redis, policy: str, memory: int = MEMORY) -> None:
    client.config_set("maxmemory", memory)
    client.config_set("maxmemory-policy", policy)


def caches(server: EmbeddedServer, database: int = 0) -> dict[str, object]:
    return {"CACHES": {"default": cache_on(server, database=database)}}


class TestJobsInCacheDatabase:
    def test_a_broker_in_the_database_of_a_cache(self, own: EmbeddedServer) -> None:
        app_on(own)
        finding = one(diagnose(**caches(own)), "jobs-in-cache-database")
        assert finding.severity is Severity.ERROR
        assert "broker_url is in database 0" in finding.what
        assert 'CACHES["default"]' in finding.what
        assert f"redis://127.0.0.1:{own.port}/1" in finding.change

    def test_results_there_are_a_smaller_loss(self, own: EmbeddedServer) -> None:
        backend = f"redis://127.0.0.1:{own.port}/2"
        app_on(own, database=1, result_backend=backend)
        report = diagnose(**caches(own, 2))
        finding = one(report, "jobs-in-cache-database")
        assert finding.severity is Severity.WARNING
        assert "result_backend" in finding.what
        assert finding.change.startswith("Another database for jobs")
        assert f":{own.port}/0" in finding.change

    def test_broker_and_results_are_one_finding(self, own: EmbeddedServer) -> None:
        app_on(own, result_backend=f"redis://127.0.0.1:{own.port}/0")
        finding = one(diagnose(**caches(own)), "jobs-in-cache-database")
        assert finding.severity is Severity.ERROR
        assert finding.what.startswith("broker_url and result_backend are in database 0 of")

    def test_another_database_is_fine(self, own: EmbeddedServer) -> None:
        app_on(own, database=1)
        assert is_free_of(diagnose(**caches(own)), "jobs-in-cache-database")


class TestEviction:
    @pytest.mark.parametrize("policy", ["allkeys-lru", "allkeys-random"])
    def test_a_broker_that_evicts_any_key_loses_jobs(
        self, own: EmbeddedServer, client: redis.Redis, policy: str
    ) -> None:
        limit(client, policy)
        app_on(own, database=1)
        finding = one(diagnose(CACHES={}), "broker-evicts")
        assert finding.severity is Severity.ERROR
        assert policy in finding.what
        assert finding.change == "CONFIG SET maxmemory-policy noeviction"

    def test_one_that_evicts_what_expires_loses_results(
        self, own: EmbeddedServer, client: redis.Redis
    ) -> None:
        limit(client, "volatile-lru")
        app_on(own, database=1)
        assert one(diagnose(CACHES={}), "broker-evicts").severity is Severity.WARNING

    def test_with_a_cache_there_volatile_is_the_best(
        self, own: EmbeddedServer, client: redis.Redis
    ) -> None:
        limit(client, "volatile-lru")
        app_on(own, database=1)
        assert is_free_of(diagnose(**caches(own)), "broker-evicts", "cache-never-evicts")
        limit(client, "allkeys-lfu")
        assert "volatile-lru" in one(diagnose(**caches(own)), "broker-evicts").change

    def test_without_a_limit_nothing_is_evicted(
        self, own: EmbeddedServer, client: redis.Redis
    ) -> None:
        app_on(own, database=1)
        for policy in ("allkeys-lru", "noeviction"):
            limit(client, policy, 0)
            report = diagnose(**caches(own))
            assert is_free_of(report, "broker-evicts", "cache-never-evicts", "memory-full")

    def test_a_cache_that_makes_no_room(self, own: EmbeddedServer, client: redis.Redis) -> None:
        limit(client, "noeviction")
        assert "allkeys-lru" in one(diagnose(**caches(own)), "cache-never-evicts").change
        app_on(own, database=1)
        assert "volatile-lru" in one(diagnose(**caches(own)), "cache-never-evicts").change

    def test_a_cache_that_makes_room(self, own: EmbeddedServer, client: redis.Redis) -> None:
        limit(client, "allkeys-lru")
        assert is_free_of(diagnose(**caches(own)), "cache-never-evicts", "broker-evicts")

    def test_a_broker_that_refuses_when_it_is_full(
        self, own: EmbeddedServer, client: redis.Redis
    ) -> None:
        limit(client, "noeviction")
        app_on(own)
        assert is_free_of(diagnose(CACHES={}), "cache-never-evicts", "broker-evicts")


class TestMemory:
    def test_no_limit(self, own: EmbeddedServer) -> None:
        finding = one(diagnose(**caches(own)), "no-maxmemory")
        assert finding.change.startswith("CONFIG SET maxmemory ")
        assert "mb" in finding.change

    def test_a_limit(self, own: EmbeddedServer, client: redis.Redis) -> None:
        limit(client, "allkeys-lru")
        assert is_free_of(diagnose(**caches(own)), "no-maxmemory", "memory-full")

    def test_a_server_that_does_not_tell_is_no_finding(self) -> None:
        evidence = Evidence(servers=(Server(address="h:1", uses=(Use(kind="cache", name="c"),)),))
        assert is_free_of(examine(evidence), "no-maxmemory", "cache-never-evicts", "memory-full")

    def test_nearly_full(self, own: EmbeddedServer, client: redis.Redis) -> None:
        # Made by the server: what is sent stays in its buffers for a while, and counts as used.
        client.setrange("big", 20 * 1024**2, "x")
        used = int(client.info("memory")["used_memory"])
        limit(client, "noeviction", int(used * 1.05))
        finding = one(diagnose(**caches(own)), "memory-full")
        assert finding.severity is Severity.ERROR
        assert "of its maxmemory" in finding.what

    def test_nearly_full_but_it_makes_room(self, own: EmbeddedServer, client: redis.Redis) -> None:
        client.set("big", "x" * 20 * 1024**2)
        used = int(client.info("memory")["used_memory"])
        limit(client, "allkeys-lru", int(used * 1.05))
        assert is_free_of(diagnose(**caches(own)), "memory-full")


def test_keys_is_found(own: EmbeddedServer, client: redis.Redis) -> None:
    for _ in range(9):
        client.keys("*")
    assert is_free_of(diagnose(**caches(own)), "keys-command")
    client.keys("*")
    assert "KEYS was called 10 times" in one(diagnose(**caches(own)), "keys-command").what


def test_keys_by_hand_now_and_then_is_not() -> None:
    after = {"cmdstat_keys": "calls=299,usec=1", "uptime_in_seconds": str(30 * 86_400)}
    evidence = Evidence(servers=(Server(address="h:1", after=after),))
    assert is_free_of(examine(evidence), "keys-command")


def test_flushes_are_found_when_they_are_many(own: EmbeddedServer, client: redis.Redis) -> None:
    for _ in range(5):
        client.flushdb()
    assert is_free_of(diagnose(**caches(own)), "many-flushes")
    for _ in range(5):
        client.flushall()
    assert "flushed 10 times" in one(diagnose(**caches(own)), "many-flushes").what
