"""The package tells of what it does by Django's signals, at no cost where nobody listens."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import redis
from celery import Celery
from django.core.cache import caches
from django.dispatch import Signal
from django.test import override_settings

from redis_optimizer.cache import TieredCache, counts
from redis_optimizer.embedded import EmbeddedServer
from redis_optimizer.signals import batch_flushed, cache_cleared, cache_invalidated
from redis_optimizer.tasks import OptimizedTask, batch, batching
from tests.cache.caches import QUIET, keep, settle
from tests.cache.conftest import _no_tiers, url
from tests.servers import wait_until

__all__ = ["_no_tiers", "url"]

READY = 60  # seconds


class Heard(list[dict[str, Any]]):
    """What a signal told, and that it did."""

    def __init__(self) -> None:
        self.event = threading.Event()

    def hear(self, signal: Signal, sender: Any, **told: Any) -> None:
        self.append(told)
        self.event.set()

    def of(self, keys: list[str] | None) -> list[dict[str, Any]]:
        """Wait until these keys were told, whatever came before; return what was said of them."""
        wait_until(lambda: any(told["keys"] == keys for told in list(self)))
        return [told for told in list(self) if told["keys"] == keys]


@contextmanager
def hearing(signal: Signal) -> Iterator[Heard]:
    heard = Heard()
    signal.connect(heard.hear)
    try:
        yield heard
    finally:
        signal.disconnect(heard.hear)


@pytest.fixture
def cache(url: str) -> Iterator[TieredCache]:
    backend = {
        "BACKEND": "redis_optimizer.cache.TieredCache",
        "LOCATION": url,
        "OPTIONS": {"L1": QUIET},
    }
    sites = {name: backend | {"KEY_PREFIX": name[0]} for name in ("site", "same", "other")}
    with override_settings(CACHES={"default": sites["site"], **sites}):
        cache: Any = caches["site"]
        assert cache.tier.wait_ready(READY)
        yield cache


def test_keys_that_were_written_elsewhere_are_told_with_their_aliases(
    cache: TieredCache, admin: redis.Redis
) -> None:
    keep(cache, {"a": 1})
    with hearing(cache_invalidated) as heard:
        admin.set("foreign", 1)
        admin.set("s:1:a", 2)
        (told,) = heard.of(["s:1:a"])
    # "same" has the same settings but for its name, and so the same tier.
    assert told["aliases"] == ["default", "site", "same"]
    assert not any("foreign" in told["keys"] for told in heard)


def test_keys_of_other_caches_are_not_told_for_this_one(
    cache: TieredCache, admin: redis.Redis
) -> None:
    other: Any = caches["other"]
    assert other.tier.wait_ready(READY)
    assert cache.tier.wait_ready(READY)
    settle(cache)
    with hearing(cache_invalidated) as heard:
        admin.set("o:1:a", 2)
        (told,) = heard.of(["o:1:a"])
    assert told["aliases"] == ["other"]
    assert not any("o:1:a" in each["keys"] for each in heard if "site" in each["aliases"])


def test_a_flush_of_the_server_is_told_without_keys(cache: TieredCache, admin: redis.Redis) -> None:
    with hearing(cache_invalidated) as heard:
        admin.flushdb()
        assert heard.of(None)


def test_a_receiver_that_raises_holds_nothing_up(cache: TieredCache, admin: redis.Redis) -> None:
    raised = threading.Event()

    def fail(signal: Signal, **told: Any) -> None:
        raised.set()
        raise ValueError

    cache_invalidated.connect(fail)
    try:
        admin.set("s:1:a", 1)
        assert raised.wait(READY)
        keep(cache, {"b": 1})  # which needs the thread that hears of writes
    finally:
        cache_invalidated.disconnect(fail)
    assert cache.tier.channel is not None
    assert cache.tier.channel.connects == 1


def test_nobody_listens_and_no_alias_is_looked_up(
    cache: TieredCache, admin: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache.tier, "_aliases", lambda tier: pytest.fail("looked up"))
    before = cache.tier.store.invalidations
    keep(cache, {"a": 1})
    admin.set("s:1:a", 2)
    settle(cache)
    assert cache.tier.store.invalidations > before


def test_what_lets_go_of_everything_is_told(cache: TieredCache) -> None:
    with hearing(cache_cleared) as heard:
        cache.clear()
        cache.delete_pattern("a*")
        counts.clear()
    assert heard == [{"reason": "written"}, {"reason": "written"}, {"reason": "asked"}]


def test_a_batch_that_left_is_told(server: EmbeddedServer) -> None:
    with override_settings(REDIS_OPTIMIZER={"ENVELOPES": True}):
        app = Celery("signals", broker=server.url, set_as_current=False)

        @app.task(shared=False, name="t.a", base=OptimizedTask, batch_size=2, batch_timeout=3600)
        def add(number: int) -> None: ...

        @app.task(shared=False, name="t.plain")
        def plain() -> None: ...

        with hearing(batch_flushed) as heard:
            add.delay(1)
            add.delay(2)
            add.delay(3)
            batching.flush_all()
            with batch(app=app):
                plain.delay()
        batching.outbox().close(0)
        batching._forget()
    assert heard == [
        {"task": "t.a", "jobs": 2, "reason": "size"},
        {"task": "t.a", "jobs": 1, "reason": "asked"},
        {"task": "", "jobs": 1, "reason": "asked"},
    ]
