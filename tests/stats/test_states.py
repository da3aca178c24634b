"""What Redis keeps of parts that are switched: signed, bounded, the latest of each part."""

import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from redis_optimizer.embedded import HOST, EmbeddedServer
from redis_optimizer.stats.signing import Forged, sign
from redis_optimizer.stats.states import (
    STEP,
    fetch,
    new_state,
    pack_states,
    read_states,
    states_key,
    store,
)
from redis_optimizer.switches import PARTS, State
from tests.cache.caches import counted

KEY = "redis_optimizer:default:switches"
OFF = State(on=False, at=100.0, by="root")


@pytest.fixture
def pool(server: EmbeddedServer) -> Iterator[redis.ConnectionPool]:
    with redis.Redis(HOST, server.port, db=3) as client:  # it is kept in database 0 all the same
        yield client.connection_pool


def test_states_are_read_as_they_were_packed() -> None:
    assert states_key("default") == KEY
    said = {"cache": OFF, "dedup": State(on=True, at=5.0, by="é")}
    assert read_states(pack_states(said)) == said
    assert read_states(pack_states(dict.fromkeys(PARTS, State()))) == {}  # nobody said anything


@pytest.mark.parametrize(
    "message",
    [
        None,
        [],
        {},
        {"v": 2, "parts": {}},
        {"v": 1, "parts": []},
        {"v": 1, "parts": {"cache": None}},
        {"v": 1, "parts": {"cache": {"on": False, "at": 1.0}}},
        {"v": 1, "parts": {"cache": {"on": 0, "at": 1.0, "by": ""}}},
        {"v": 1, "parts": {"cache": {"on": False, "at": float("1e400"), "by": ""}}},
        {"v": 1, "parts": {str(n): {"on": False, "at": 1.0, "by": ""} for n in range(51)}},
    ],
)
def test_what_is_no_state_is_refused(message: Any) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_states(sign("switches", json.dumps(message).encode()))


@pytest.mark.parametrize("data", [b"", b"{}", b"\xff" * 100, b'{"v":1,"parts":{}}'])
def test_what_is_not_signed_is_refused(data: bytes) -> None:
    with pytest.raises(Forged):
        read_states(data)
    with pytest.raises(ValueError, match="bytes"):
        read_states(data * 20_000 + b" " * 17_000)


def test_a_state_is_kept_beside_the_others_by_five_commands(
    pool: redis.ConnectionPool, admin: redis.Redis
) -> None:
    store(pool, "cache", OFF)
    with counted(admin) as calls:
        store(pool, "dedup", State(on=False, at=1.0, by="you"))
    assert calls == dict.fromkeys(("watch", "get", "multi", "set", "exec"), 1)
    with counted(admin) as calls:
        assert fetch(pool) == {"cache": OFF, "dedup": State(on=False, at=1.0, by="you")}
    assert calls == {"get": 1}
    assert admin.ttl(KEY) == -1


def test_a_later_order_counts_though_its_clock_is_behind(pool: redis.ConnectionPool) -> None:
    store(pool, "cache", State(on=False, at=500.0))
    kept = store(pool, "cache", State(on=True, at=100.0, by="you"))
    assert kept == State(on=True, at=500.0 + STEP, by="you")
    assert fetch(pool)["cache"] == kept
    assert new_state(True, "you", State(at=2.0**34)).at == 2.0**34 + STEP


def test_two_who_write_at_once_lose_nothing(pool: redis.ConnectionPool) -> None:
    threads = [
        threading.Thread(target=store, args=(pool, part, State(on=False, at=float(number))))
        for number, part in enumerate(PARTS, 1)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {part for part, state in fetch(pool).items() if not state.on} == set(PARTS)


@pytest.mark.parametrize("value", [b"", b"nonsense", b"\xff" * 100_000])
def test_what_is_no_use_to_anybody_is_replaced(
    pool: redis.ConnectionPool, admin: redis.Redis, value: bytes
) -> None:
    admin.set(KEY, value)
    assert fetch(pool) == {}
    assert store(pool, "cache", OFF) == OFF
    assert fetch(pool) == {"cache": OFF}
