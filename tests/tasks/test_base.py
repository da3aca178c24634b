"""What a call of a task sends, and when."""

import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import redis
from celery import Celery, chain, chord, group
from celery.result import AsyncResult
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings
from django.utils import timezone
from kombu.exceptions import EncodeError, OperationalError

from redis_optimizer.embedded import EmbeddedServer
from redis_optimizer.tasks import BatchTask, DedupTask, OptimizedTask, batch, batching
from tests.servers import wait_until
from tests.tasks.queues import arguments, envelopes, ids, messages

LONG = 3600.0


@pytest.fixture
def app(server: EmbeddedServer) -> Iterator[Celery]:
    with override_settings(REDIS_OPTIMIZER={"ENVELOPES": True}):
        app = Celery("base", broker=server.url, backend=server.url, set_as_current=False)
        app.conf.task_ignore_result = True
        yield app
        batching.outbox().close(0)
        batching._forget()


@pytest.fixture
def task(app: Celery) -> Any:
    @app.task(shared=False, base=OptimizedTask, batch_size=3, batch_timeout=LONG, acks_late=True)
    def add(number: int = 0, *, more: int = 0) -> int:
        return number + more

    return add


def test_with_the_defaults_a_call_is_sent_at_once(app: Celery, admin: redis.Redis) -> None:
    @app.task(shared=False, base=OptimizedTask)
    def add(number: int) -> None: ...

    result = add.delay(1)
    assert isinstance(result, AsyncResult)
    assert ids(admin) == [result.id]
    assert arguments(messages(admin)[0]) == ([1], {})


def test_calls_wait_for_others_and_leave_in_one_message(task: Any, admin: redis.Redis) -> None:
    results = [task.delay(1), task.delay(2, more=3)]
    assert admin.keys() == []
    results.append(task.apply_async((4,)))
    (jobs,) = envelopes(admin)
    assert [job.id for job in jobs] == [result.id for result in results]
    assert [job.task for job in jobs] == [task.name] * 3
    assert jobs[1].body.startswith('[[2], {"more": 3}, ')
    assert ids(admin) == []


def test_a_call_leaves_when_it_has_waited_long_enough(app: Celery, admin: redis.Redis) -> None:
    @app.task(shared=False, base=OptimizedTask, batch_size=100, batch_timeout=0.05)
    def add() -> None: ...

    result = add.delay()
    wait_until(lambda: ids(admin) == [result.id])  # alone it needs no envelope


def test_a_timeout_of_nothing_sends_at_once(app: Celery, admin: redis.Redis) -> None:
    @app.task(shared=False, base=OptimizedTask, batch_size=100, batch_timeout=0)
    def add() -> None: ...

    result = add.delay()
    assert ids(admin) == [result.id]


def test_a_batch_task_goes_by_the_settings(app: Celery, admin: redis.Redis) -> None:
    @app.task(shared=False, base=BatchTask)
    def add() -> None: ...

    settings = {"ENVELOPES": True, "BATCH_SIZE": 2, "BATCH_TIMEOUT": LONG}
    with override_settings(REDIS_OPTIMIZER=settings):
        add.delay()
        assert envelopes(admin) == []
        add.delay()
    assert len(envelopes(admin)[0]) == 2


def test_switched_off_it_is_a_task_like_any_other(task: Any, admin: redis.Redis) -> None:
    with override_settings(REDIS_OPTIMIZER={"ENABLED": False}):
        result = task.delay(1)
    assert ids(admin) == [result.id]
    assert not batching.is_pending()


def test_without_envelopes_jobs_leave_side_by_side(task: Any, admin: redis.Redis) -> None:
    with override_settings(REDIS_OPTIMIZER={"ENVELOPES": False}):
        results = [task.delay(number) for number in range(3)]
    assert ids(admin) == [result.id for result in results]
    assert envelopes(admin) == []


def test_options_of_a_call_travel_with_its_job(task: Any, admin: redis.Redis) -> None:
    task.apply_async((1,), expires=60, time_limit=9, headers={"color": "red"}, ignore_result=False)
    task.apply_async((2,), shadow="other")
    task.delay(3)
    (jobs,) = envelopes(admin)
    assert jobs[0].headers["expires"]
    assert jobs[0].headers["timelimit"] == [9, None]
    assert jobs[0].headers["color"] == "red"
    assert jobs[0].headers["ignore_result"] is False
    assert jobs[1].headers["shadow"] == "other"
    assert jobs[2].headers["expires"] is None
    assert "color" not in jobs[2].headers


def test_calls_of_another_queue_or_priority_leave_apart(task: Any, admin: redis.Redis) -> None:
    for _ in range(2):
        task.delay()
        task.apply_async(priority=6)
        task.apply_async(queue="other")
    assert envelopes(admin) == []
    task.delay()
    assert len(envelopes(admin)) == 1
    task.apply_async(queue="other")
    assert len(envelopes(admin, "other")) == 1
    assert len(envelopes(admin)) == 1


def test_big_arguments_leave_before_there_are_many(app: Celery, admin: redis.Redis) -> None:
    settings = {"ENVELOPES": True, "MAX_MESSAGE_BYTES": 10_000}
    with override_settings(REDIS_OPTIMIZER=settings):

        @app.task(shared=False, base=OptimizedTask, batch_size=100, batch_timeout=LONG)
        def add(text: str) -> None: ...

        for _ in range(4):
            add.delay("x" * 2_500)
    assert [len(jobs) for jobs in envelopes(admin)] == [2]  # a third would be too many bytes


@pytest.mark.parametrize(
    "options",
    [
        {"task_id": "mine"},
        {"countdown": 60},
        {"eta": timezone.now() + timedelta(hours=1)},
        {"retries": 1},
        {"reply_to": "queue"},
        {"group_id": "group"},
    ],
)
def test_calls_with_options_of_their_own_are_sent_at_once(
    task: Any, admin: redis.Redis, options: dict[str, Any]
) -> None:
    result = task.apply_async((1,), **options)
    assert ids(admin) == [result.id]


def test_canvas_is_sent_at_once(app: Celery, task: Any, admin: redis.Redis) -> None:
    sent = group(task.s(1), task.s(2)).apply_async()
    assert ids(admin) == [result.id for result in sent.results]
    admin.flushall()
    (task.s(1) | task.si(2)).apply_async()
    chord([task.s(1)], task.si(2)).apply_async()
    chain(task.s(1), task.si(3)).apply_async()
    task.apply_async((1,), link=task.si(2), link_error=task.si(3))
    assert len(ids(admin)) == 4
    assert not batching.is_pending()


def test_eager_calls_run_at_once(app: Celery, task: Any, admin: redis.Redis) -> None:
    app.conf.task_always_eager = True
    assert task.delay(1, more=2).get() == 3
    assert task.apply((1,)).get() == 1
    assert admin.keys() == []


def test_arguments_that_cannot_be_serialised_fail_that_call_alone(
    task: Any, admin: redis.Redis
) -> None:
    first = task.delay(1)
    with pytest.raises(EncodeError):
        task.delay(object())
    others = [task.delay(2), task.delay(3)]
    (jobs,) = envelopes(admin)
    assert [job.id for job in jobs] == [first.id, *(other.id for other in others)]


def test_headers_that_cannot_be_serialised_fail_that_call_alone(
    task: Any, admin: redis.Redis
) -> None:
    with pytest.raises(TypeError):
        task.apply_async((1,), headers={"x": object()})
    for number in range(3):
        task.delay(number)
    assert len(envelopes(admin)[0]) == 3


@pytest.mark.parametrize(("given", "taken"), [("3", 3), (5.0, 5), (True, 1), (99, 9), ("x", 0)])
def test_a_priority_is_taken_as_plain_celery_does(
    task: Any, admin: redis.Redis, given: object, taken: int
) -> None:
    for _ in range(3):
        task.apply_async(priority=given)
    (key,) = admin.keys("celery*.batches*")
    assert key == "celery.batches" + ("" if taken < 3 else f"\x06\x16{taken // 3 * 3}")


def test_another_transport_than_redis_gets_the_priority_of_the_call(app: Celery) -> None:
    app.conf.broker_url = "memory://"

    @app.task(shared=False, base=OptimizedTask)
    def add(number: int) -> None: ...

    with batch(app=app):
        add.apply_async((1,), queue="of priorities", priority=200)
    with app.connection_for_read() as connection:
        message = connection.SimpleQueue("of priorities").get_nowait()
    assert message.properties["priority"] == 200


def test_two_calls_with_one_id_are_two_jobs(app: Celery, admin: redis.Redis) -> None:
    @app.task(shared=False, base=OptimizedTask)
    def add(number: int) -> None: ...

    app.set_current()
    with batch(app=app):
        add.apply_async((1,), task_id="mine")
        add.apply_async((2,), task_id="mine")
    assert ids(admin) == ["mine", "mine"]


def test_who_sends_with_a_producer_of_their_own_sends_no_duplicates(
    app: Celery, admin: redis.Redis
) -> None:
    """As Celery's beat does."""

    @app.task(shared=False, base=DedupTask)
    def sync() -> None: ...

    with app.connection_for_write() as connection, connection.Producer() as producer:
        results = [sync.apply_async(producer=producer) for _ in range(3)]
    assert ids(admin) == [results[0].id]
    assert len({result.id for result in results}) == 1


def test_a_call_that_cannot_be_sent_stands_for_no_other(app: Celery, admin: redis.Redis) -> None:
    @app.task(shared=False, base=DedupTask, dedup_on=("user",))
    def sync(user: int, more: Any = None) -> None: ...

    with pytest.raises(EncodeError):
        sync.delay(1, object())
    assert admin.keys("redis_optimizer:*") == []
    result = sync.delay(1)
    assert ids(admin) == [result.id]


def test_a_task_may_be_bulk_by_the_class_it_comes_from(app: Celery) -> None:
    class Base(OptimizedTask):
        abstract = True

        def run(self, jobs: Any) -> Any:
            return [job.args[0] * 2 for job in jobs]

    class Double(Base):
        name = "double"
        bulk = True

    assert app.register_task(Double()).apply((4,)).get() == 8


def test_wrong_arguments_fail_at_the_call(task: Any) -> None:
    with pytest.raises(TypeError):
        task.delay(1, 2, 3)
    assert not batching.is_pending()


def test_too_many_waiting_jobs_fail_the_call(task: Any, admin: redis.Redis) -> None:
    settings = {"ENVELOPES": True, "MAX_BUFFERED": 2}
    with override_settings(REDIS_OPTIMIZER=settings):
        batching._forget()
        admin.config_set("maxmemory", 1)
        try:
            task.delay(1)
            task.delay(2)
            with pytest.raises(OperationalError, match="MAX_BUFFERED"):
                task.delay(3)
        finally:
            admin.config_set("maxmemory", 0)
        wait_until(lambda: [len(jobs) for jobs in envelopes(admin)] == [2])


def test_who_waits_for_a_job_has_it_sent(task: Any, admin: redis.Redis) -> None:
    result = task.apply_async((1,), ignore_result=False)
    assert ids(admin) == []
    assert result.state == "PENDING"
    assert ids(admin) == [result.id]


def test_a_revoked_job_does_not_leave(task: Any, admin: redis.Redis) -> None:
    first = task.apply_async((1,), ignore_result=False)
    second = task.delay(2)
    first.revoke()
    batching.flush_all()
    assert ids(admin) == [second.id]
    assert first.state == "REVOKED"


def test_a_job_that_is_revoked_frees_its_lock_whatever_its_backend_does(
    app: Celery, admin: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    @app.task(shared=False, base=DedupTask, batch_size=9, batch_timeout=LONG, ignore_result=False)
    def sync() -> None: ...

    def fail(*args: Any, **kwargs: Any) -> None:
        raise LookupError

    result = sync.delay()
    monkeypatch.setattr(sync.backend, "mark_as_revoked", fail)
    with pytest.raises(LookupError):
        result.revoke()
    assert admin.keys("redis_optimizer:*dedup*") == []


def test_jobs_of_all_threads_leave_together(task: Any, admin: redis.Redis) -> None:
    threads = [threading.Thread(target=task.delay, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(envelopes(admin)[0]) == 3


def test_events_of_sending_take_the_same_way(app: Celery, task: Any, admin: redis.Redis) -> None:
    app.conf.task_send_sent_event = True
    results = [task.delay(number) for number in range(3)]
    (jobs,) = envelopes(admin)
    assert [job.id for job in jobs] == [result.id for result in results]
    assert not batching.is_pending()


def test_a_class_may_be_a_task(app: Celery, admin: redis.Redis) -> None:
    class Add(OptimizedTask):
        name = "add"
        batch_size = 2
        batch_timeout = LONG

        def run(self, number: int) -> int:
            return number

    task = app.register_task(Add())
    results = [task.delay(1), task.delay(2)]
    assert [job.id for job in envelopes(admin)[0]] == [result.id for result in results]


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("batch_size", 0),
        ("batch_size", 2.5),
        ("batch_size", True),
        ("batch_timeout", -1),
        ("batch_timeout", "soon"),
        ("batch_delay", float("inf")),
        ("keep_succeeded", -1),
        ("keep_failed", 1.5),
        ("bulk", 1),
        ("flush_on_response", None),
        ("dedup", "always"),
        ("dedup_ttl", 0),
    ],
)
def test_a_wrong_option_fails_the_declaration(app: Celery, option: str, value: object) -> None:
    with pytest.raises(ImproperlyConfigured, match=option.split("_")[0]):

        @app.task(shared=False, base=DedupTask, lazy=False, **{option: value})
        def wrong() -> None: ...
