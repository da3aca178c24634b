"""The servers of the caches are asked as the site asks them, and nothing hides a failure."""

from collections.abc import Iterator
from typing import Any

import pytest
import redis
from django.core.cache import caches
from django.test import override_settings
from django_redis import get_redis_connection
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from redis_optimizer.embedded import HOST, EmbeddedServer
from redis_optimizer.health.checks import Redis, asking
from tests.cache.caches import counted
from tests.health.checks.caches import TIERED, alias, frozen, outcome
from tests.servers import connect, sentinel, wait_until

BOUNDED = {"SOCKET_TIMEOUT": 5}
UNBOUNDED = {"CONNECTION_POOL_KWARGS": {"socket_timeout": None}}  # redis-py 8 has a default


@pytest.fixture
def other() -> Iterator[EmbeddedServer]:
    """Run a server of the test's own, which may be frozen or stopped."""
    with EmbeddedServer() as running:
        yield running


@pytest.fixture
def use(settings: Any) -> Any:
    """Return a function that sets CACHES."""

    def use(**aliases: dict[str, Any]) -> None:
        settings.CACHES = {"default": alias("redis://127.0.0.1:1/7"), **aliases}

    return use


def test_each_location_is_checked_once(use: Any) -> None:
    local = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}
    one, two = "redis://127.0.0.1:1/0", "redis://127.0.0.1:1/1"
    use(
        again=alias(two, backend=TIERED),
        local=local,
        default=alias(two, backend=TIERED),
        sessions=alias(one),
        more=alias(one),
    )
    assert [check.name for check in Redis.instances()] == ["redis", "redis-sessions"]
    assert [check.name for check in Redis.instances(alias="more", write=True)] == ["redis-more"]


def test_names_are_names(use: Any) -> None:
    use(**{"my cache:1": alias("redis://127.0.0.1:1/1")})
    assert [check.name for check in Redis.instances()] == ["redis", "redis-my-cache-1"]


def test_a_site_without_a_cache_on_redis_has_no_such_check(settings: Any) -> None:
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}}
    assert Redis.instances() == []


def test_it_is_what_ready_goes_by() -> None:
    (check,) = Redis.instances()
    assert (check.critical, check.ready, check.component) == (True, True, "datastore")


def test_it_is_one_command_through_the_pool(
    use: Any, server: EmbeddedServer, admin: redis.Redis
) -> None:
    use(default=alias(f"{server.url}?one", backend=TIERED, **BOUNDED))
    Redis().run()
    before = len(admin.client_list())
    with counted(admin) as calls:
        Redis().run()
    assert calls == {"ping": 1}
    assert len(admin.client_list()) == before


def test_a_pool_that_may_wait_for_ever_costs_a_connection_more(
    use: Any, server: EmbeddedServer, admin: redis.Redis
) -> None:
    use(default=alias(f"{server.url}?two", **UNBOUNDED))
    Redis().run()
    before = len(admin.client_list())
    with counted(admin) as calls:
        Redis().run()
    assert calls.pop("ping") == 2
    assert set(calls) <= {"hello"}
    wait_until(lambda: len(admin.client_list()) == before)


def test_a_pool_with_nothing_to_lend_is_seen(use: Any, server: EmbeddedServer) -> None:
    use(default=alias(f"{server.url}?three", CONNECTION_POOL_KWARGS={"max_connections": 1}))
    pool = get_redis_connection("default").connection_pool
    lent = pool.get_connection()
    with pytest.raises(RedisError):
        Redis().run()
    pool.release(lent)
    Redis().run()


def test_a_server_that_is_gone_is_not_hidden(use: Any, other: EmbeddedServer) -> None:
    use(default=alias(other.url, backend=TIERED, IGNORE_EXCEPTIONS=True))
    Redis().run()
    other.stop()
    assert caches["default"].get("k") is None  # the site hides it
    with pytest.raises(RedisError):
        Redis().run()


@pytest.mark.parametrize("options", [UNBOUNDED, BOUNDED], ids=["unbounded", "bounded"])
@pytest.mark.parametrize("is_connected", [True, False])
def test_a_frozen_server_does_not_hold_it(
    use: Any, other: EmbeddedServer, options: dict[str, Any], is_connected: bool
) -> None:
    use(default=alias(other.url, **options))
    check = Redis(timeout=0.3)
    if is_connected:
        check.run()
    with frozen(other):
        # Where the first finds a connection, it closes it.
        assert isinstance(outcome(check.run), RedisError)
        assert isinstance(outcome(check.run), RedisError)
    wait_until(lambda: outcome(check.run) is None)
    cache: Any = caches["default"]
    cache.set("k", "v")
    assert cache.get("k") == "v"  # and not the answer to a PING


def test_a_server_that_freezes_between_two_words_does_not_hold_it(
    use: Any, other: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(default=alias(other.url, **UNBOUNDED))
    check = Redis(timeout=0.3)
    check.run()
    monkeypatch.setattr(asking, "_greet", lambda *_: None)  # it was well then
    with frozen(other):
        assert isinstance(outcome(check.run), RedisTimeoutError)


def test_a_connection_with_an_answer_on_its_way_is_closed(use: Any, other: EmbeddedServer) -> None:
    use(default=alias(other.url, **BOUNDED))
    number = get_redis_connection("default").client_id()
    with frozen(other):
        assert isinstance(outcome(Redis(timeout=0.3).run), RedisTimeoutError)
    with connect(other) as admin:
        wait_until(lambda: str(number) not in {c["id"] for c in admin.client_list()})


def test_a_write_leaves_nothing(use: Any, server: EmbeddedServer, admin: redis.Redis) -> None:
    use(default=alias(f"{server.url}?four", backend=TIERED, **BOUNDED))
    Redis(write=True).run()
    with admin.monitor() as monitor:
        Redis(write=True).run()
        sent = [next(monitor.listen())["command"].split() for _ in range(3)]
    assert [words[0] for words in sent] == ["SET", "GET", "DEL"]
    assert len({words[1] for words in sent}) == 1
    assert sent[0][1].startswith("t:1:redis_optimizer:probe:")
    assert admin.keys() == []


def test_each_write_has_a_key_of_its_own(
    use: Any, server: EmbeddedServer, admin: redis.Redis
) -> None:
    use(default=alias(f"{server.url}?five", **BOUNDED))
    Redis(write=True).run()
    with admin.monitor() as monitor:
        for _ in range(2):
            Redis(write=True).run()
        sent = [next(monitor.listen())["command"].split()[1] for _ in range(6)]
    assert len(set(sent)) == 2


def test_a_server_without_memory_is_seen_by_a_write_alone(use: Any, other: EmbeddedServer) -> None:
    use(default=alias(other.url))
    with connect(other) as admin:
        admin.config_set("maxmemory", 1)
        Redis().run()
        with pytest.raises(RedisError, match="memory"):
            Redis(write=True).run()
        admin.config_set("maxmemory", 0)
    # Its other answers were not left for the next who takes the connection.
    Redis(write=True).run()
    cache: Any = caches["default"]
    cache.set("k", "v")
    assert cache.get("k") == "v"


def test_a_replica_is_seen_by_a_write_alone(
    use: Any, server: EmbeddedServer, other: EmbeddedServer
) -> None:
    use(default=alias(other.url))
    with connect(other) as admin:
        admin.replicaof(HOST, server.port)
    Redis().run()
    with pytest.raises(RedisError, match="read only"):
        Redis(write=True).run()


def test_a_server_that_forgets_is_seen(
    use: Any, server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(default=alias(server.url))
    monkeypatch.setattr(
        "redis_optimizer.health.checks.redis.ask", lambda *_, **__: [b"OK", None, 0]
    )
    with pytest.raises(ValueError, match="not return what was written"):
        Redis(write=True).run()


def test_of_shards_each_is_asked(use: Any, server: EmbeddedServer, other: EmbeddedServer) -> None:
    client = "django_redis.client.ShardClient"
    use(default=alias([server.url, other.url], CLIENT_CLASS=client))
    Redis(write=True).run()
    other.stop()
    with pytest.raises(RedisError):
        Redis().run()


class Cluster(redis.Redis):
    """A client without a pool that could be asked."""

    def __init__(self, connection_pool: Any) -> None:
        self.pinged = 0

    def ping(self, **kwargs: Any) -> bool:
        raise RedisError("asked")


def test_a_client_without_a_pool_is_asked_itself(use: Any) -> None:
    use(default=alias("redis://127.0.0.1:1/0", REDIS_CLIENT_CLASS=f"{__name__}.Cluster"))
    with pytest.raises(RedisError, match="asked"):
        Redis().run()


@pytest.mark.slow
def test_with_sentinel_the_primary_is_asked() -> None:
    with sentinel() as group:
        options = {
            "CLIENT_CLASS": "django_redis.client.SentinelClient",
            "SENTINELS": group.addresses,
        }
        given = {"default": alias(f"redis://{group.name}/0", **options)}
        with override_settings(
            CACHES=given,
            DJANGO_REDIS_CONNECTION_FACTORY="django_redis.pool.SentinelConnectionFactory",
        ):
            # Until the sentinels have seen the primary.
            wait_until(lambda: Redis(write=True).run() is None)
            for each in group.sentinels:  # else a replica may have taken over before it is asked
                with connect(each) as client:
                    client.sentinel_set(group.name, "down-after-milliseconds", 60_000)
            with frozen(group.primary):
                assert isinstance(outcome(Redis(timeout=0.3).run), RedisError)
