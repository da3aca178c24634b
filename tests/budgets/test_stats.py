"""What statistics cost, by the server's own count: nothing, unless somebody asks."""

from typing import Any

import pytest
import redis

from redis_optimizer.cache import TieredCache
from redis_optimizer.core import counters
from redis_optimizer.stats.desk import desk
from redis_optimizer.stats.registry import registry
from tests.cache.caches import counted, keep, tiered
from tests.servers import wait_until


def test_nobody_asks_and_nothing_is_sent(
    url: str, admin: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = []
    look = registry.look

    def count() -> float:
        looks.append(look())
        return 0.02  # instead of ten seconds

    monkeypatch.setattr(registry, "look", count)
    cache = tiered(url)
    keep(cache, {"a": 1})
    with counted(admin) as calls:
        seen = len(looks)
        wait_until(lambda: cache.get("a") == 1 and len(looks) > seen + 10)
    assert calls == {}
    assert all(0 < wait <= counters.STEP for wait in looks)


def test_a_question_costs_a_command_of_each_process(cache: TieredCache, admin: redis.Redis) -> None:
    from redis_optimizer.stats.messages import Question

    before = desk.answered
    with counted(admin) as calls:
        admin.publish("redis_optimizer:default", Question().pack())
        wait_until(lambda: desk.answered > before)
        wait_until(lambda: _calls(admin, "publish") == 2)
    assert calls == {"publish": 2}


def test_a_forged_message_costs_none(cache: TieredCache, admin: redis.Redis) -> None:
    before = desk.forged
    with counted(admin) as calls:
        for data in (b"{}", b"\xff", b"[" * 1_000, b'{"v": 1, "ask": "shutdown"}'):
            admin.publish("redis_optimizer:default", data)
        wait_until(lambda: desk.forged == before + 4)
    assert calls == {"publish": 4}


def _calls(admin: redis.Redis, command: str) -> int:
    stats: dict[str, Any] = admin.info("commandstats")
    calls: int = stats[f"cmdstat_{command}"]["calls"]
    return calls
