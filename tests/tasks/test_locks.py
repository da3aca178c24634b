"""Locks on the broker's server."""

import logging
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from celery import Celery
from kombu.exceptions import OperationalError

from redis_optimizer.embedded import EmbeddedServer
from redis_optimizer.tasks import locks
from redis_optimizer.tasks.locks import acquire, extend, release
from tests.servers import connect

KEY = "redis_optimizer:default:dedup:test"


@pytest.fixture
def app(server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Celery]:
    monkeypatch.setattr(locks, "_set_takes_both", True)
    app = Celery("locks", broker=server.url, set_as_current=False)
    yield app
    locks._left_behind.clear()
    app.close()


@pytest.fixture
def old_server(app: Celery, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let SET refuse what it does before Redis 7."""

    def set_key(*args: Any, **kwargs: Any) -> None:
        raise redis.ResponseError("syntax error")

    monkeypatch.setattr(redis.Redis, "set", set_key)


def test_a_lock_is_had_by_one_job(app: Celery, admin: redis.Redis) -> None:
    assert acquire(app, KEY, "a", 10) == "a"
    assert acquire(app, KEY, "b", 10) == "a"
    assert admin.get(KEY) == "a"
    assert 9_000 < admin.pttl(KEY) <= 10_000


def test_a_job_may_ask_again_for_what_it_has(app: Celery) -> None:
    assert acquire(app, KEY, "a", 10) == acquire(app, KEY, "a", 10) == "a"


def test_asking_does_not_extend(app: Celery, admin: redis.Redis) -> None:
    acquire(app, KEY, "a", 10)
    acquire(app, KEY, "b", 100)
    assert admin.pttl(KEY) <= 10_000


@pytest.mark.usefixtures("old_server")
def test_an_old_server_does_the_same(app: Celery, admin: redis.Redis) -> None:
    assert acquire(app, KEY, "a", 10) == "a"
    assert acquire(app, KEY, "b", 10) == "a"
    assert acquire(app, KEY, "a", 10) == "a"
    assert 9_000 < admin.pttl(KEY) <= 10_000


def test_only_the_job_that_has_a_lock_releases_it(app: Celery, admin: redis.Redis) -> None:
    acquire(app, KEY, "a", 10)
    release(app, KEY, "b")
    assert admin.get(KEY) == "a"
    release(app, KEY, "a")
    assert not admin.exists(KEY)
    release(app, KEY, "a")


def test_a_lock_with_arguments_is_released_as_well(app: Celery, admin: redis.Redis) -> None:
    admin.hset(KEY, mapping={"id": "a", "body": "..."})
    release(app, KEY, "b")
    assert admin.exists(KEY)
    release(app, KEY, "a")
    assert not admin.exists(KEY)


def test_a_lock_is_extended(app: Celery, admin: redis.Redis) -> None:
    acquire(app, KEY, "a", 10)
    extend(app, KEY, "a", 20)
    assert 19_000 < admin.pttl(KEY) <= 20_000


def test_a_lock_that_has_lapsed_is_taken_again(app: Celery, admin: redis.Redis) -> None:
    extend(app, KEY, "a", 20)
    assert admin.get(KEY) == "a"
    assert 19_000 < admin.pttl(KEY) <= 20_000
    admin.delete(KEY)
    extend(app, KEY, "a", 20, kind="hash")
    assert admin.hget(KEY, "id") == "a"


def test_the_lock_of_another_job_is_not_extended(app: Celery, admin: redis.Redis) -> None:
    acquire(app, KEY, "a", 10)
    extend(app, KEY, "b", 20)
    assert admin.get(KEY) == "a"
    assert admin.pttl(KEY) <= 10_000


def test_a_connection_that_the_server_closed_is_opened_again() -> None:
    # Kombu keeps connections for the process: another test would find those of its server broken.
    with EmbeddedServer() as own, connect(own) as client:
        app = Celery("locks", broker=own.url, set_as_current=False)
        acquire(app, KEY, "a", 10)
        client.client_kill_filter(_type="normal", skipme=True)
        assert acquire(app, KEY, "b", 10) == "a"
        app.close()


def test_the_options_of_a_call_say_how_often_it_is_tried(
    app: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = []

    def fail(*args: Any, **kwargs: Any) -> None:
        tries.append(args)
        raise redis.ConnectionError

    monkeypatch.setattr(redis.Redis, "set", fail)
    policy = {"max_retries": 2, "interval_start": 0, "interval_step": 0}
    for options, count in (({"retry": False}, 1), ({"retry": True, "retry_policy": policy}, 3)):
        tries.clear()
        with pytest.raises(OperationalError):
            acquire(app, KEY, "a", 10, options)
        assert len(tries) == count


def test_a_refusal_is_raised_at_once(app: Celery, admin: redis.Redis) -> None:
    admin.hset(KEY, "id", "a")
    with pytest.raises(OperationalError, match="WRONGTYPE"):
        acquire(app, KEY, "a", 10)


def test_what_could_not_be_released_goes_with_the_next_lock(
    app: Celery,
    admin: redis.Redis,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    app.conf.task_publish_retry = False
    acquire(app, KEY, "a", 10)
    with monkeypatch.context() as patch:
        patch.setattr(redis.Redis, "evalsha", _lose)
        with caplog.at_level(logging.WARNING, "redis_optimizer"):
            release(app, KEY, "a")
    assert "a is released later" in caplog.text
    assert admin.get(KEY) == "a"
    assert acquire(app, KEY, "b", 10) == "b"


def test_nothing_is_kept_where_the_broker_is_not_redis() -> None:
    app = Celery("memory", broker="memory://", set_as_current=False)
    assert acquire(app, KEY, "a", 10) is None
    release(app, KEY, "a")


def test_a_server_that_forgot_its_scripts_is_told_again(app: Celery, admin: redis.Redis) -> None:
    acquire(app, KEY, "a", 10)
    admin.script_flush()
    release(app, KEY, "a")
    assert not admin.exists(KEY)


def _lose(*args: Any, **kwargs: Any) -> None:
    raise redis.ConnectionError("lost")
