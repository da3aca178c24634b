"""What keeps tiers from their work, on servers that do and that refuse, and by what they count."""

import socket
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from django.core.cache import cache

from redis_optimizer.cache import TieredCache
from redis_optimizer.cache import registry as tiers
from redis_optimizer.doctor import Evidence, Severity, examine
from redis_optimizer.doctor.evidence import Alias, Server
from redis_optimizer.embedded import EmbeddedServer
from redis_optimizer.stats.gathered import Gathered
from tests.cache.caches import settle
from tests.doctor.sites import (
    cache_on,
    counted,
    diagnose,
    is_free_of,
    one,
    process,
    watch,
)
from tests.servers import connect, wait_until


def tiered(server: Server | None = None, **options: Any) -> Alias:
    settings = {"KEY_PREFIX": "t", "OPTIONS": {"L1": options}}
    return Alias(name="default", settings=settings, backend=TieredCache, server=server)


def grown(seconds: float = 10, server: Server | None = None, **cache: float) -> Evidence:
    """Return evidence of a process whose counts grew from 0 to these."""
    return Evidence(
        aliases=(tiered(server),),
        stats_before=counted(**dict.fromkeys(cache, 0)),
        stats=counted(**cache),
        seconds=seconds,
    )


class TestTracking:
    @pytest.fixture
    def limited(self, own: EmbeddedServer) -> Iterator[dict[str, Any]]:
        """Yield an alias whose user may not track."""
        rules = ("on", ">secret", "~*", "&*", "+@all", "-client|tracking")
        with connect(own) as client:
            client.execute_command("ACL", "SETUSER", "limited", *rules)
            yield cache_on(own) | {"LOCATION": f"redis://limited:secret@127.0.0.1:{own.port}/0"}
            client.execute_command("ACL", "DELUSER", "limited")

    def test_refused_by_an_acl(self, limited: dict[str, Any]) -> None:
        report = diagnose(CACHES={"default": limited})
        finding = one(report, "tracking-refused")
        assert 'refuses to track writes for CACHES["default"]' in finding.what
        assert "+client|tracking" in finding.change
        assert "secret" not in str(report.as_dict())

    def test_not_refused(self, own: EmbeddedServer) -> None:
        report = diagnose(CACHES={"default": cache_on(own)})
        assert is_free_of(report, "tracking-refused", "ttl-coherence")

    def test_refused_as_processes_say(self) -> None:
        # Such as behind a proxy that strips what the server pushes.
        server = Server(address="h:1", tracking="")
        stats = Gathered([process(caches={"default": {"coherence": "refused"}})])
        evidence = Evidence(aliases=(tiered(server),), stats=stats)
        assert "1 of 1 processes say so" in one(examine(evidence), "tracking-refused").what

    def test_not_wanted_though_it_works(self, own: EmbeddedServer) -> None:
        settings = cache_on(own, OPTIONS={"L1": {"COHERENCE": "ttl"}})
        finding = one(diagnose(CACHES={"default": settings}), "ttl-coherence")
        assert finding.severity is Severity.INFO
        assert "MAX_AGE 300 s" in finding.what

    def test_not_wanted_and_refused(self, limited: dict[str, Any]) -> None:
        settings = limited | {"OPTIONS": {"L1": {"COHERENCE": "ttl"}}}
        report = diagnose(CACHES={"default": settings})
        assert is_free_of(report, "tracking-refused", "ttl-coherence")

    def test_with_all_parts_off_nothing_is_asked_of_tiers(self, limited: dict[str, Any]) -> None:
        report = diagnose(CACHES={"default": limited}, REDIS_OPTIMIZER={"ENABLED": False})
        assert is_free_of(report, "tracking-refused")


class TestManyWrites:
    def test_what_a_process_drops_is_seen(self, server: EmbeddedServer, admin: redis.Redis) -> None:
        # This very process is the site's, with a tier and a channel that answers.
        keys = [f"k{number}" for number in range(500)]
        names = [f"t:1:{key}" for key in keys]
        assert cache.tier.wait_ready(30)

        store = cache.tier.store

        def writes() -> None:
            before = store.invalidations
            admin.delete(*names)
            wait_until(lambda: store.invalidations == before + len(keys))

        cache.set_many(dict.fromkeys(keys, "x"))
        settle(cache)
        cache.get_many(keys)
        assert len(store) == len(keys)
        evidence = watch(writes, seconds=1)
        finding = one(examine(evidence), "many-writes")
        assert finding.severity is Severity.WARNING
        assert 'values/s of CACHES["default"]' in finding.what
        assert '["L1"]["PREFIXES"]' in finding.change

    def test_what_a_server_takes_may_be_under_the_prefix(
        self, own: EmbeddedServer, client: redis.Redis
    ) -> None:
        def writes() -> None:
            with client.pipeline(transaction=False) as pipeline:
                for number in range(2_500):
                    pipeline.set(f"other:{number}", 1)
                pipeline.execute()

        finding = one(diagnose(writes, CACHES={"default": cache_on(own)}), "many-writes")
        assert finding.severity is Severity.INFO
        assert "250 writes/s" in finding.what
        untold = cache_on(own, OPTIONS={"L1": {"COHERENCE": "ttl"}})
        assert is_free_of(diagnose(writes, CACHES={"default": untold}), "many-writes")

    def test_what_it_costs_the_server(self) -> None:
        finding = one(examine(grown(invalidations=3_000)), "many-writes")
        assert (
            finding.arithmetic
            == "300 writes/s x 1 processes x 6 us = 0.2 % of a core of the server"
        )

    def test_few_are_fine(self) -> None:
        assert is_free_of(examine(grown(invalidations=1_999)), "many-writes")


class TestSmallTier:
    def test_evictions_are_reads_at_most(self) -> None:
        finding = one(examine(grown(evictions=50, misses=40)), "small-tier")
        assert (finding.saves, finding.at_most) == (4 * 86_400, True)
        assert finding.change.endswith('["MAX_ENTRIES"] = 20000 and ["MAX_BYTES"] = 134217728')

    def test_few_are_fine(self) -> None:
        assert is_free_of(examine(grown(evictions=9, misses=1_000)), "small-tier")


class TestLocalMemory:
    def evidence(self, number: int, *, host: str = "", memory: int | None = 1024**3) -> Evidence:
        totals = {"caches": {"default": {"max_bytes": 64 * 1024**2}}}
        host = host or socket.gethostname()
        here = [process(str(n), host, **totals) for n in range(number)]
        return Evidence(stats=Gathered(here), memory=memory)

    def test_too_many_processes(self) -> None:
        finding = one(examine(self.evidence(9)), "local-memory")
        assert finding.arithmetic == "9 x 64 MiB = 576 MiB, more than 50 % of 1,024 MiB"
        assert "56 MiB at most" in finding.change

    def test_as_many_as_there_is_room_for(self) -> None:
        assert is_free_of(examine(self.evidence(8)), "local-memory")

    def test_those_on_other_machines_have_memory_of_their_own(self) -> None:
        assert is_free_of(examine(self.evidence(9, host="elsewhere")), "local-memory")
        assert is_free_of(examine(self.evidence(9, memory=None)), "local-memory")


def test_what_this_process_keeps_is_left_to_it(own: EmbeddedServer) -> None:
    watch(CACHES={"default": cache_on(own)})
    assert tiers.channels() == []  # the doctor opens none
