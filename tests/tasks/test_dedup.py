"""Calls that are one job, as the process that makes them sees it."""

import logging
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from unittest import mock

import pytest
import redis
from celery import Celery, chain, chord, group
from celery.exceptions import SoftTimeLimitExceeded
from django.test import override_settings
from django.utils import timezone
from kombu.exceptions import OperationalError

from redis_optimizer.embedded import EmbeddedServer
from redis_optimizer.signals import job_deduplicated
from redis_optimizer.tasks import OptimizedTask, batch, batching, dedup
from redis_optimizer.tasks.keys import key_of
from tests.tasks.queues import ids, messages

LONG = 3600.0
ONCE = ["until_executing", "until_executed", "throttle"]


@pytest.fixture
def app(server: EmbeddedServer) -> Iterator[Celery]:
    app = Celery("dedup", broker=server.url, set_as_current=False)
    app.conf.task_ignore_result = True
    yield app
    batching.outbox().close(0)
    batching._forget()
    app.close()


def declare(app: Celery, mode: str = "until_executed", **options: Any) -> Any:
    """Return a task that is deduplicated."""

    @app.task(base=OptimizedTask, shared=False, dedup=mode, **({"dedup_ttl": 100} | options))
    def sync(user: Any, *, deep: bool = False) -> None: ...

    return sync


def locks(client: redis.Redis) -> list[str]:
    return sorted(client.keys("redis_optimizer:default:dedup:*"))


@pytest.mark.parametrize("mode", ONCE)
def test_a_duplicate_returns_the_job_that_stands_for_it(
    app: Celery, admin: redis.Redis, mode: str
) -> None:
    sync = declare(app, mode)
    first = sync.delay(1)
    assert [sync.delay(1).id, sync.delay(user=1).id, sync.delay(1, deep=False).id] == [first.id] * 3
    other = sync.delay(2)
    assert ids(admin) == [first.id, other.id]


@pytest.mark.parametrize("mode", ONCE)
def test_the_lock_names_the_job_and_lapses(app: Celery, admin: redis.Redis, mode: str) -> None:
    sync = declare(app, mode)
    job = sync.delay(1)
    key = key_of(sync, (1,), {})
    assert locks(admin) == [key]
    assert admin.get(key) == job.id
    assert 99_000 < admin.pttl(key) <= 100_000
    assert messages(admin)[0]["headers"]["redis_optimizer_dedup"] == key


def test_without_a_ttl_of_its_own_a_task_has_that_of_the_setting(
    app: Celery, admin: redis.Redis
) -> None:
    sync = declare(app, dedup_ttl=None)
    with override_settings(REDIS_OPTIMIZER={"DEDUP_TTL": 50}):
        sync.delay(1)
    (key,) = locks(admin)
    assert 49_000 < admin.pttl(key) <= 50_000


@pytest.mark.parametrize("later", ["countdown", "eta", "text"])
def test_a_job_that_runs_later_is_locked_for_longer(
    app: Celery, admin: redis.Redis, later: str
) -> None:
    sync = declare(app)
    eta = timezone.now() + timedelta(seconds=60)
    options = {"countdown": {"countdown": 60}, "eta": {"eta": eta}, "text": {"eta": str(eta)}}
    job = sync.apply_async((1,), **options[later])
    assert sync.delay(1).id == job.id
    (key,) = locks(admin)
    assert 140_000 < admin.pttl(key) <= 160_000


def test_receivers_hear_of_a_duplicate(app: Celery) -> None:
    sync = declare(app)
    receiver = mock.Mock()
    job_deduplicated.connect(receiver)
    try:
        first = sync.delay(1)
        assert not receiver.called
        sync.delay(1)
    finally:
        job_deduplicated.disconnect(receiver)
    (call,) = receiver.call_args_list
    assert call.kwargs["task"] == sync.name
    assert call.kwargs["existing_id"] == first.id != call.kwargs["id"]


def test_a_receiver_that_fails_does_not_fail_the_call(app: Celery) -> None:
    sync = declare(app)

    def fail(**kwargs: Any) -> None:
        raise ValueError

    job_deduplicated.connect(fail)
    try:
        first = sync.delay(1)
        assert sync.delay(1).id == first.id
    finally:
        job_deduplicated.disconnect(fail)


@pytest.mark.parametrize("mode", [*ONCE, "keep_last"])
def test_calls_that_others_refer_to_are_never_duplicates(
    app: Celery, admin: redis.Redis, mode: str
) -> None:
    sync = declare(app, mode)
    sync.delay(1)
    for options in (
        {"task_id": "mine"},
        {"link": sync.si(2)},
        {"link_error": sync.si(2)},
        {"retries": 1},
        {"reply_to": "me"},
    ):
        sync.apply_async((1,), **options)
    chain(sync.si(1), sync.si(2)).delay()
    group(sync.si(1), sync.si(1)).delay()
    assert len(ids(admin)) == 9
    assert len(locks(admin)) == 1


def test_a_chord_of_equal_headers_is_sent_as_it_is(
    app: Celery, admin: redis.Redis, server: EmbeddedServer
) -> None:
    app.conf.result_backend = server.url
    sync = declare(app, ignore_result=False)
    chord([sync.si(1), sync.si(1)], sync.si(2)).delay()
    assert len(ids(admin)) == 2
    assert locks(admin) == []


def test_switched_off_every_call_is_a_job(app: Celery, admin: redis.Redis) -> None:
    sync = declare(app)
    with override_settings(REDIS_OPTIMIZER={"ENABLED": False}):
        sync.delay(1)
        sync.delay(1)
    assert len(ids(admin)) == 2
    assert locks(admin) == []


def test_eager_calls_run(app: Celery, admin: redis.Redis) -> None:
    runs = []

    @app.task(base=OptimizedTask, shared=False, dedup="until_executed")
    def note(number: int) -> None:
        runs.append(number)

    app.conf.task_always_eager = True
    note.delay(1)
    note.delay(1)
    assert runs == [1, 1]
    assert locks(admin) == []


# What cannot be sent


@pytest.mark.parametrize("mode", dedup.MODES)
def test_a_job_that_could_not_be_sent_stands_for_none(
    app: Celery, admin: redis.Redis, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync = declare(app, mode)
    with monkeypatch.context() as patch:
        patch.setattr(app, "send_task", mock.Mock(side_effect=OperationalError("down")))
        with pytest.raises(OperationalError, match="down"):
            sync.delay(1)
    assert locks(admin) == []
    job = sync.delay(1)
    assert ids(admin) == [job.id]


def test_arguments_that_cannot_be_sent_leave_no_lock(app: Celery, admin: redis.Redis) -> None:
    sync = declare(app, dedup_on=("deep",))
    with pytest.raises(Exception, match="not JSON serializable"):
        sync.delay(object())
    assert (ids(admin), locks(admin)) == ([], [])


@pytest.mark.parametrize("mode", dedup.MODES)
def test_without_a_broker_a_call_raises_what_celery_raises(app: Celery, mode: str) -> None:
    app.conf.update(
        broker_url="redis://127.0.0.1:1/0",
        broker_transport_options={"max_retries": 0},
        task_publish_retry=False,
    )
    with pytest.raises(OperationalError):
        declare(app, mode).delay(1)


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (redis.TimeoutError, OperationalError),
        (SoftTimeLimitExceeded, SoftTimeLimitExceeded),  # of the task that calls
    ],
)
def test_a_lock_whose_reply_was_lost_goes_with_the_next_call(
    app: Celery,
    admin: redis.Redis,
    monkeypatch: pytest.MonkeyPatch,
    error: type[Exception],
    raised: type[Exception],
) -> None:
    sync = declare(app)
    app.conf.task_publish_retry = False
    set_key = redis.Redis.set

    def lose_reply(*args: Any, **kwargs: Any) -> None:
        set_key(*args, **kwargs)
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(redis.Redis, "set", lose_reply)
        with pytest.raises(raised):
            sync.delay(1)
    assert len(locks(admin)) == 1
    job = sync.delay(1)
    assert ids(admin) == [job.id]


def test_a_lost_reply_is_asked_for_again(
    app: Celery, admin: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync = declare(app)
    set_key = redis.Redis.set
    lost = []

    def lose_first_reply(*args: Any, **kwargs: Any) -> Any:
        reply = set_key(*args, **kwargs)
        if not lost:
            lost.append(reply)
            raise redis.ConnectionError
        return reply

    monkeypatch.setattr(redis.Redis, "set", lose_first_reply)
    job = sync.delay(1)
    assert lost
    assert ids(admin) == [job.id]


@pytest.mark.parametrize("mode", dedup.MODES)
def test_a_broker_that_is_not_redis_gets_every_call(
    caplog: pytest.LogCaptureFixture, mode: str
) -> None:
    app = Celery("memory", broker="memory://", set_as_current=False)
    sync = declare(app, mode)
    with caplog.at_level(logging.WARNING):
        assert sync.delay(1).id != sync.delay(1).id
    ours = [r.message for r in caplog.records if r.name.startswith("redis_optimizer")]
    assert ours == ["The broker is not Redis: no call is deduplicated."]


# Together with batches


def test_a_duplicate_of_a_job_that_waits_here_is_found_here(
    app: Celery, admin: redis.Redis
) -> None:
    sync = declare(app, batch_size=10, batch_timeout=LONG)
    first = sync.delay(1)
    admin.delete(*locks(admin))
    assert sync.delay(1).id == first.id
    assert locks(admin) == []
    batching.flush_all()
    assert ids(admin) == [first.id]


def test_a_job_that_is_taken_out_stands_for_none(app: Celery, admin: redis.Redis) -> None:
    sync = declare(app, batch_size=10, batch_timeout=LONG)
    sync.delay(1).revoke()
    assert locks(admin) == []


def test_in_a_block_duplicates_are_one_message(app: Celery, admin: redis.Redis) -> None:
    sync = declare(app)
    with batch(app=app):
        first, second = sync.delay(1), sync.delay(1)
    assert ids(admin) == [first.id] == [second.id]
