"""BREAKER_AFTER: a server that does not answer is left alone, and found again."""

import asyncio
import gc
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import redis
from django.test import override_settings
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    MaxConnectionsError,
    ReadOnlyError,
    ResponseError,
)
from redis.sentinel import MasterNotFoundError

from redis_optimizer.cache import ServerUnavailable, TieredCache, outage
from redis_optimizer.cache.counts import channel_totals
from redis_optimizer.cache.outage import PROBE_NAME, Guard, guard_of, guards
from redis_optimizer.embedded import HOST, EmbeddedServer
from redis_optimizer.signals import server_found, server_lost
from tests.core.loads import held
from tests.servers import busy, wait_until

from .caches import QUICK, counted, keep, tiered
from .calls import CALLS as EVERY_CALL
from .calls import outcome
from .test_outages import CALLS, POOL

TTL = {"COHERENCE": "ttl", "START_AFTER": 0}
"""No channel that would find the server by itself."""


@pytest.fixture
def own() -> Iterator[EmbeddedServer]:
    """Run a server for the test alone."""
    with EmbeddedServer(persistent=True) as server:
        yield server


@pytest.fixture(autouse=True)
def _breaker() -> Iterator[None]:
    with override_settings(REDIS_OPTIMIZER={"BREAKER_AFTER": 3}):
        yield
    wait_until(lambda: PROBE_NAME not in {thread.name for thread in threading.enumerate()})


def make(own: EmbeddedServer, l1: Any = TTL, **options: Any) -> TieredCache:
    return tiered(own.url, l1=l1, CONNECTION_POOL_KWARGS=POOL, **options)


def fail(cache: TieredCache, times: int = 3) -> None:
    """Let commands fail whose keys nobody knows."""
    for _ in range(times):
        with pytest.raises(redis.ConnectionError) as caught:
            cache.ttl("unknown")
        assert not isinstance(caught.value, ServerUnavailable)


def hold(cache: TieredCache) -> Any:
    """Return the guard of a cache whose breaker is open, and will make no probe."""
    (guard,) = guards()
    guard._breaker._backoff._until = float("inf")
    assert guard.state == "open"
    return guard


def test_it_opens_after_failures_in_a_row(own: EmbeddedServer) -> None:
    cache = make(own)
    own.kill()
    assert cache.stats()["breaker"] == "closed"
    fail(cache)
    assert cache.stats()["breaker"] == "open"
    hold(cache)
    with pytest.raises(ServerUnavailable, match=f"{HOST}:{own.port} does not answer"):
        cache.ttl("unknown")


@pytest.mark.parametrize("ignored", [False, True])
def test_a_refused_call_ends_as_one_that_failed_does(own: EmbeddedServer, ignored: bool) -> None:
    with override_settings(REDIS_OPTIMIZER={}):
        without = make(own, IGNORE_EXCEPTIONS=ignored)  # compared with django-redis elsewhere
    cache = make(own, IGNORE_EXCEPTIONS=ignored)
    own.kill()
    for _ in range(3):
        with pytest.raises(redis.ConnectionError):
            cache.persist("unknown")  # of which django-redis ignores no error
    guard = hold(cache)
    for call in EVERY_CALL:
        if call.name in ("lock", "iter_keys", "sscan_iter"):
            continue  # they send later
        kind, expected = outcome(partial(call, without))
        refused = guard._breaker.refused
        if (kind, expected) == ("raised", redis.ConnectionError):
            expected = ServerUnavailable
        assert outcome(partial(call, cache)) == (kind, expected), call
        if expected is ServerUnavailable:
            assert guard._breaker.refused > refused, call


def test_coroutines_are_refused_as_well(own: EmbeddedServer) -> None:
    cache = make(own)
    own.kill()
    fail(cache)
    hold(cache)
    for call in (cache.aget("k"), cache.aset("k", 1), cache.aget_many(["k"]), cache.aclear()):
        with pytest.raises(ServerUnavailable):
            asyncio.run(call)


def test_a_server_that_is_busy_with_a_script_opens_it_until_that_ends(own: EmbeddedServer) -> None:
    cache = make(own)
    with busy(own):
        for _ in range(3):
            with pytest.raises(redis.ResponseError, match="BUSY"):
                cache.ttl("unknown")
        (guard,) = guards()
        assert guard.state == "open"
        probes = guard._breaker._backoff.failures
        # A probe that is told so as well has not found the server.
        wait_until(
            lambda: not guard._breaker.admits() and guard._breaker._backoff.failures > probes
        )
        with pytest.raises(ServerUnavailable):
            cache.ttl("unknown")
    wait_until(lambda: guard._breaker.admits())


def test_locks_are_refused_as_well(own: EmbeddedServer) -> None:
    cache = make(own)
    own.kill()
    fail(cache)
    hold(cache)
    with pytest.raises(ServerUnavailable):
        cache.lock("lock", timeout=1).acquire()


def test_all_caches_and_threads_share_it(own: EmbeddedServer) -> None:
    first, second = make(own), make(own, prefix="other")
    own.kill()
    fail(first)
    hold(first)
    refused: list[type] = []

    def call() -> None:
        refused.append(outcome(lambda: second.get("k"))[1])

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    assert refused == [ServerUnavailable]


def test_another_server_is_another_matter(own: EmbeddedServer, url: str) -> None:
    cache = make(own)
    own.kill()
    fail(cache)
    assert tiered(url, l1=TTL).get("k") is None


def test_raw_clients_are_left_alone(own: EmbeddedServer) -> None:
    cache = make(own)
    own.kill()
    fail(cache)
    guard = hold(cache)
    raw = cache.client.get_client()
    with pytest.raises(redis.ConnectionError) as caught:
        raw.get("k")
    assert not isinstance(caught.value, ServerUnavailable)
    own.restart()
    wait_until(raw.ping)
    assert guard.state == "open"


def test_a_refused_write_lets_go_of_its_key(own: EmbeddedServer) -> None:
    cache = make(own, {**QUICK, "STALE_IF_ERROR": 60})
    keep(cache, {"k": 1})
    own.kill()
    wait_until(lambda: not cache.tier.ready)
    fail(cache)
    hold(cache)
    assert cache.get("k") == 1
    with pytest.raises(ServerUnavailable):
        cache.set("k", 2)
    with pytest.raises(ServerUnavailable):
        cache.get("k")


@pytest.mark.parametrize("l1", [TTL, QUICK], ids=["probe", "channel"])
def test_it_closes_by_itself_when_the_server_is_back(own: EmbeddedServer, l1: Any) -> None:
    cache = make(own, l1)
    own.kill()
    wait_until(lambda: l1 is TTL or not cache.tier.ready)
    fail(cache)
    if l1 is QUICK:
        hold(cache)  # it is the channel that finds it
    own.restart()
    wait_until(lambda: outcome(lambda: cache.set("k", 1)) == ("returned", True))
    assert cache.stats()["breaker"] == "closed"


def test_a_frozen_server_is_probed_in_vain(
    own: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outage, "PROBE_TIMEOUT", 0.5)
    pool = {**POOL, "socket_timeout": 0.3}
    cache = tiered(own.url, l1=TTL, CONNECTION_POOL_KWARGS=pool)
    own.freeze()
    try:
        for _ in range(3):
            with pytest.raises(redis.TimeoutError):
                cache.ttl("unknown")
        (guard,) = guards()
        wait_until(lambda: outcome(lambda: cache.ttl("k")) and guard.state == "half-open")
        wait_until(lambda: guard.state == "open")
    finally:
        own.thaw()
    wait_until(lambda: outcome(lambda: cache.ttl("k"))[0] == "returned")


def test_it_is_told_when_it_opens_and_when_it_closes(
    own: EmbeddedServer, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[tuple[str, dict[str, Any]]] = []

    def note(name: str) -> Callable[..., None]:
        def receive(**kwargs: Any) -> None:
            if kwargs.pop("sender") is Guard:
                told.append((name, kwargs))

        return receive

    lost, found = note("lost"), note("found")
    server_lost.connect(lost, weak=False)
    server_found.connect(found, weak=False)
    caplog.set_level(logging.INFO, "redis_optimizer.cache")
    where = f"{HOST}:{own.port}"
    try:
        cache = make(own, {**TTL, "STALE_IF_ERROR": 60})
        cache.set("k", 1)
        cache.get("k")
        (entry,) = cache.tier.store.entries.values()
        entry.expires_at = time.monotonic() - 1
        own.kill()
        fail(cache)
        for _ in range(4):
            outcome(lambda: cache.get("k"))
        (guard,) = guards()
        own.restart()
        wait_until(lambda: outcome(lambda: cache.get("k")) and guard.state == "closed")
        wait_until(lambda: len(told) == 2)  # after it is closed, and after the line of the log
    finally:
        server_lost.disconnect(lost)
        server_found.disconnect(found)
    opened, closed = [record for record in caplog.records if where in record.getMessage()]
    assert opened.levelname == "WARNING"
    assert closed.levelname == "INFO"
    assert "ConnectionError" in opened.getMessage()
    assert "commands were not sent" in closed.getMessage()
    (lost_name, lost_facts), (found_name, found_facts) = told
    assert (lost_name, found_name) == ("lost", "found")
    assert lost_facts["reason"].startswith(where)
    assert found_facts["server"] == where
    assert found_facts["seconds"] > 0


def test_statistics_show_it(own: EmbeddedServer) -> None:
    cache = make(own)
    own.kill()
    fail(cache)
    hold(cache)
    assert channel_totals()["breakers"] == {f"{HOST}:{own.port}": "open"}
    assert cache.stats()["breaker"] == "open"


def test_attempts_are_bounded_however_many_ask(own: EmbeddedServer) -> None:
    cache = make(own)
    own.kill()
    attempts, calls = [0], [0]
    ended = threading.Event()
    listener = socket.create_server((HOST, own.port), backlog=64)

    def hang_up() -> None:
        while not ended.is_set():
            try:
                listener.accept()[0].close()
            except OSError:
                return
            attempts[0] += 1

    def load() -> None:
        mine = TieredCache(own.url, cache._params)
        while not ended.is_set():
            outcome(lambda: mine.get("k"))
            calls[0] += 1

    threads = [threading.Thread(target=work) for work in (hang_up, *[load] * 4)]
    for thread in threads:
        thread.start()
    try:
        wait_until(lambda: calls[0] > 3000)
        (guard,) = guards()
        assert guard.state != "closed"
    finally:
        ended.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for thread in threads:
            thread.join()
    # Three that failed, those under way meanwhile (redis-py may try each twice), and some probes.
    assert 3 <= attempts[0] <= 3 + 8 + 20


@pytest.fixture
def guard(url: str) -> Guard:
    """Return the guard of the test's server."""
    return guard_of(redis.ConnectionPool.from_url(url))


def raising(error: Exception) -> Callable[[], None]:
    def send() -> None:
        raise error

    return send


@pytest.mark.parametrize(
    "error",
    [
        redis.ConnectionError("gone"),
        redis.TimeoutError("late"),
        BusyLoadingError("loading"),
        MasterNotFoundError("which"),
        OSError("reset"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_of_the_connection_open_it(guard: Guard, error: Exception) -> None:
    for _ in range(3):
        with pytest.raises(type(error)):
            guard.run(raising(error))
    assert guard.state == "open"


@pytest.mark.parametrize(
    "error",
    [
        ResponseError("WRONGTYPE"),
        ReadOnlyError("replica"),
        AuthenticationError("password"),
        MaxConnectionsError("pool"),
        redis.DataError("None"),
        ValueError("of ours"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_other_errors_do_not(guard: Guard, error: Exception) -> None:
    for _ in range(10):
        with pytest.raises(type(error)):
            guard.run(raising(error))
    assert guard.state == "closed"


@pytest.mark.parametrize("name", ["ConnectionPool", "BlockingConnectionPool"])
def test_nor_does_a_pool_whose_connections_are_all_lent(own: EmbeddedServer, name: str) -> None:
    limits: dict[str, Any] = {"max_connections": 1}
    if name == "BlockingConnectionPool":
        limits["timeout"] = 0.01
    cache = tiered(
        own.url,
        l1=TTL,
        CONNECTION_POOL_CLASS=f"redis.connection.{name}",
        CONNECTION_POOL_KWARGS=limits,
    )
    pool = cache.client.get_client(write=True).connection_pool
    lent = pool.get_connection()
    fail(cache, times=10)
    pool.release(lent)
    assert cache.ttl("unknown") == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform cannot fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_asks_by_itself(guard: Guard) -> None:
    for _ in range(3):
        with pytest.raises(redis.ConnectionError):
            guard.run(raising(redis.ConnectionError("gone")))
    with held(guard._breaker._lock):  # type: ignore[union-attr]
        pid = os.fork()
        if pid == 0:
            signal.alarm(20)  # for ever would be too long, should the lock be held
            os._exit(0 if guard.run(lambda: 7) == 7 and guard.state == "closed" else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert guard.state == "open"


def test_it_costs_no_command(url: str, admin: redis.Redis) -> None:
    costs = []
    for after in (0, 3):
        with override_settings(REDIS_OPTIMIZER={"BREAKER_AFTER": after}):
            cache = tiered(url, l1=TTL)
            cache.ttl("k")  # connects
            with counted(admin) as calls:
                for call in CALLS.values():
                    outcome(partial(call, cache))
            costs.append(calls)
    assert costs[0] == costs[1]


def test_what_is_served_stale_leaves_nothing_to_the_garbage_collector(own: EmbeddedServer) -> None:
    cache = make(own, {**QUICK, "STALE_IF_ERROR": 60})
    keep(cache, {"k": 1, "l": 2})
    own.kill()
    wait_until(lambda: not cache.tier.ready)
    fail(cache)
    hold(cache)
    cache.tier.channel.stop()  # its attempts to connect leave some
    gc.disable()
    try:
        gc.collect()
        for _ in range(1000):
            cache.get("k")
            cache.get_many(["k", "l"])
            cache.has_key("k")
        assert gc.collect() < 100
    finally:
        gc.enable()


def test_where_it_is_off_a_dead_server_is_asked_each_time(own: EmbeddedServer) -> None:
    with override_settings(REDIS_OPTIMIZER={}):
        cache = make(own)
        own.kill()
        fail(cache, 10)
        assert guards() == []
        assert cache.stats()["breaker"] == "off"
