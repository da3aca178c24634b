"""LocalCache: the async half of Django's cache contract, and threads."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from redis_optimizer.cache import LocalCache


@pytest.fixture
def local(request: pytest.FixtureRequest) -> LocalCache:
    return LocalCache(request.node.nodeid, {})


async def test_get_and_set(local: LocalCache) -> None:
    await local.aset("key", {"a": 1})
    assert await local.aget("key") == {"a": 1}
    assert local.get("key") == {"a": 1}
    assert await local.aget("absent", "default") == "default"
    assert await local.ahas_key("key") is True
    assert await local.ahas_key("absent") is False


async def test_add_touch_and_delete(local: LocalCache) -> None:
    assert await local.aadd("key", 1) is True
    assert await local.aadd("key", 2) is False
    assert await local.atouch("key", 60) is True
    assert await local.atouch("absent") is False
    assert await local.adelete("key") is True
    assert await local.adelete("key") is False


async def test_counting(local: LocalCache) -> None:
    await local.aset("key", 1)
    assert await local.aincr("key", 4) == 5
    assert await local.adecr("key") == 4
    with pytest.raises(ValueError, match="absent"):
        await local.aincr("absent")


async def test_many(local: LocalCache) -> None:
    assert await local.aset_many({"a": 1, "b": 2}) == []
    assert await local.aget_many(["a", "b", "c"]) == {"a": 1, "b": 2}
    await local.adelete_many(["a"])
    assert await local.aget_many(["a", "b"]) == {"b": 2}
    await local.aclear()
    assert await local.aget("b") is None


async def test_get_or_set(local: LocalCache) -> None:
    assert await local.aget_or_set("key", lambda: [1]) == [1]
    assert await local.aget_or_set("key", lambda: 1 / 0) == [1]


async def test_versions(local: LocalCache) -> None:
    await local.aset("key", "value")
    assert await local.aincr_version("key") == 2
    assert await local.aget("key", version=2) == "value"
    assert await local.adecr_version("key", version=2) == 1
    assert await local.aget("key") == "value"
    with pytest.raises(ValueError, match="absent"):
        await local.aincr_version("absent")


async def test_a_timeout_of_zero_and_of_none(local: LocalCache) -> None:
    await local.aset("none", 1, None)
    await local.aset("zero", 1, 0)
    assert await local.aget_many(["none", "zero"]) == {"none": 1}
    await local.aclose()
    assert await local.aget("none") == 1


class TestThreads:
    def test_no_increment_is_lost(self, local: LocalCache) -> None:
        local.set("key", 0)
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(local.incr, ["key"] * 2000))
        assert local.get("key") == 2000

    def test_one_of_many_adds_wins(self, local: LocalCache) -> None:
        barrier = threading.Barrier(4)

        def add(number: int) -> list[bool]:
            barrier.wait()
            return [local.add(str(n), number) for n in range(200)]

        with ThreadPoolExecutor(4) as pool:
            won = list(pool.map(add, range(4)))
        assert [sum(column) for column in zip(*won, strict=True)] == [1] * 200
