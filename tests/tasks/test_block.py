"""What is called for in a ``batch()`` leaves together when it ends."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis
from asgiref.sync import sync_to_async
from celery import Celery, chord, current_app, group
from celery.signals import before_task_publish
from django.test import override_settings
from kombu.transport import redis as transport

from redis_optimizer.embedded import EmbeddedServer
from redis_optimizer.tasks import OptimizedTask, batch, batching
from redis_optimizer.tasks.block import Batch
from redis_optimizer.tasks.counts import counter
from tests.servers import wait_until
from tests.tasks.queues import envelopes, ids, messages

LONG = 3600.0


@pytest.fixture
def app(server: EmbeddedServer) -> Iterator[Celery]:
    with override_settings(REDIS_OPTIMIZER={"ENVELOPES": True}):
        app = Celery("block", broker=server.url, backend=server.url, set_as_current=True)
        app.conf.task_ignore_result = True
        yield app
        batching.outbox().close(0)
        batching._forget()


@pytest.fixture
def plain(app: Celery) -> Any:
    @app.task(shared=False)
    def plain(number: int = 0) -> int:
        return number

    plain.delay()  # connects, and declares the queue
    batching.flush_all()
    with redis.Redis.from_url(app.conf.broker_url) as client:
        client.delete("celery")
    return plain


@pytest.fixture
def batched(app: Celery) -> Any:
    @app.task(shared=False, base=OptimizedTask, batch_size=100, batch_timeout=LONG)
    def batched(number: int = 0) -> int:
        return number

    return batched


def lpushes(client: redis.Redis) -> int:
    stats: Any = client.info("commandstats")
    return int(stats.get("cmdstat_lpush", {"calls": 0})["calls"])


def test_ordinary_calls_leave_with_one_command(plain: Any, admin: redis.Redis) -> None:
    before = lpushes(admin)
    with batch():
        results = [plain.delay(number) for number in range(50)]
        assert ids(admin) == []
    assert ids(admin) == [result.id for result in results]
    assert lpushes(admin) == before + 1


def test_very_many_leave_as_they_come(plain: Any, admin: redis.Redis) -> None:
    before = lpushes(admin)
    with batch():
        for number in range(2_000):
            plain.delay(number)
    assert len(ids(admin)) == 2_000
    assert lpushes(admin) == before + 2


def test_more_than_a_process_may_hold_leave_as_they_come(plain: Any, admin: redis.Redis) -> None:
    with override_settings(REDIS_OPTIMIZER={"MAX_BUFFERED": 100}):
        batching._forget()
        with batch():
            results = [plain.delay(number) for number in range(250)]
            assert len(ids(admin)) == 200
    assert ids(admin) == [result.id for result in results]


@pytest.mark.parametrize("is_declared", [True, False])
def test_what_a_queue_refuses_is_tried_again_alone(
    plain: Any, admin: redis.Redis, is_declared: bool
) -> None:
    if is_declared:
        plain.apply_async(queue="other")
    admin.set("other", "no list")
    with batch():
        results = [plain.delay(), plain.apply_async(queue="other"), plain.delay()]
    taken = [results[0].id, results[2].id]
    assert ids(admin) == taken
    failures = counter.totals()["failures"]
    wait_until(lambda: counter.totals()["failures"] > failures + 1)
    assert ids(admin) == taken
    assert batching.count() == 1
    admin.delete("other")
    wait_until(lambda: ids(admin, "other") == [results[1].id])
    assert ids(admin) == taken


def test_what_a_queue_refuses_holds_up_no_other(plain: Any, admin: redis.Redis) -> None:
    admin.set("other", "no list")
    with batch():
        plain.apply_async(queue="other")
    for _ in range(3):
        failures = counter.totals()["failures"]
        wait_until(lambda f=failures: counter.totals()["failures"] > f)  # it is waited for again
        with batch():
            result = plain.delay()
        wait_until(lambda r=result: r.id in ids(admin))
    wait_until(lambda: batching.count() == 1)
    admin.delete("other")
    wait_until(lambda: batching.count() == 0)


@pytest.mark.parametrize("is_lost", [False, True])
def test_one_by_one_nothing_is_sent_twice(
    server: EmbeddedServer, admin: redis.Redis, monkeypatch: pytest.MonkeyPatch, is_lost: bool
) -> None:
    """As with another broker than Redis."""
    app = Celery("singly", broker=server.url, set_as_current=False)
    app.conf.broker_transport_options = {"retry_on_timeout": True}

    @app.task(shared=False, ignore_result=True)
    def plain() -> None: ...

    admin.set("other", "no list")
    put, losses = transport.Channel._put, [redis.ConnectionError("lost")] * is_lost

    def lose(channel: Any, queue: str, message: Any, **options: Any) -> None:
        if losses and admin.llen("celery"):
            raise losses.pop()
        put(channel, queue, message, **options)

    monkeypatch.setattr(transport.Channel, "_put", lose)
    with batch(app=app):
        results = [plain.delay(), plain.apply_async(queue="other"), plain.delay(), plain.delay()]
    taken = [results[place].id for place in (0, 2, 3)]
    failures = counter.totals()["failures"]
    wait_until(lambda: counter.totals()["failures"] > failures + 1)
    assert ids(admin) == taken
    admin.delete("other")
    wait_until(lambda: ids(admin, "other") == [results[1].id])
    assert ids(admin) == taken
    batching.outbox().close(0)
    batching._forget()
    app.close()


def test_what_a_call_was_given_is_sent_though_it_is_changed_meanwhile(
    plain: Any, admin: redis.Redis
) -> None:
    audit = {"who": ["ann"]}
    with batch():
        plain.apply_async(headers={"audit": audit})
        audit["who"].append("bob")
        plain.apply_async(headers={"audit": audit})
        audit.clear()
    told = [message["headers"]["audit"] for message in messages(admin)]
    assert told == [{"who": ["ann"]}, {"who": ["ann", "bob"]}]


def test_batched_calls_leave_in_their_envelopes(batched: Any, admin: redis.Redis) -> None:
    with batch():
        results = [batched.delay(number) for number in range(3)]
        assert envelopes(admin) == []
    assert [job.id for job in envelopes(admin)[0]] == [result.id for result in results]


def test_calls_by_name_and_canvas_are_collected(
    app: Celery, plain: Any, admin: redis.Redis
) -> None:
    before = lpushes(admin)
    with batch():
        app.send_task("other")
        group(plain.s(1), plain.s(2)).apply_async()
        plain.apply_async(countdown=60)
        assert ids(admin) == []
    assert len(ids(admin)) == 4
    assert lpushes(admin) == before + 1


def test_an_exception_loses_nothing(plain: Any, batched: Any, admin: redis.Redis) -> None:
    def send() -> None:
        with batch():
            plain.delay(1)
            batched.delay(2)
            raise LookupError

    with pytest.raises(LookupError):
        send()
    assert len(ids(admin)) == 2


def test_inside_another_the_outermost_sends(plain: Any, admin: redis.Redis) -> None:
    with batch():
        with batch():
            plain.delay()
        assert ids(admin) == []
    assert len(ids(admin)) == 1


def test_outside_calls_are_sent_at_once_again(plain: Any, admin: redis.Redis) -> None:
    with batch():
        plain.delay()
    plain.delay()
    assert len(ids(admin)) == 2


def test_another_thread_is_not_in_the_block(plain: Any, admin: redis.Redis) -> None:
    with batch():
        thread = threading.Thread(target=plain.delay)
        thread.start()
        thread.join()
        assert len(ids(admin)) == 1


def test_it_decorates_functions(plain: Any, admin: redis.Redis) -> None:
    @batch
    def send(count: int) -> int:
        for number in range(count):
            plain.delay(number)
        assert ids(admin) == []
        return count

    assert send(2) == 2
    assert len(ids(admin)) == 2


def test_it_decorates_with_arguments_too(app: Celery, plain: Any, admin: redis.Redis) -> None:
    @batch()
    def first() -> None:
        plain.delay()
        assert ids(admin) == []

    @batch(app=current_app)
    def second() -> None:
        plain.delay()
        assert len(ids(admin)) == 1

    first()
    second()
    assert len(ids(admin)) == 2


def test_it_decorates_no_generator() -> None:
    def numbers() -> Iterator[int]:
        yield 1

    with pytest.raises(TypeError, match="generator"):
        batch(numbers)


def test_it_is_entered_once(app: Celery) -> None:
    block = batch()
    with block, pytest.raises(RuntimeError, match="once"):
        block.__enter__()


def test_what_comes_as_the_block_ends_is_sent(app: Celery, plain: Any, admin: redis.Redis) -> None:
    block = batch()
    block.__enter__()

    def end(**kwargs: Any) -> None:
        block.__exit__(None, None, None)

    before_task_publish.connect(end)
    try:
        plain.delay()
    finally:
        before_task_publish.disconnect(end)
    assert len(ids(admin)) == 1


async def test_it_decorates_coroutine_functions(plain: Any, admin: redis.Redis) -> None:
    @batch
    async def send() -> str:
        plain.delay()
        await asyncio.sleep(0)
        await sync_to_async(plain.delay)()
        assert ids(admin) == []
        return "sent"

    assert await send() == "sent"
    assert len(ids(admin)) == 2


async def test_it_works_with_async_with(plain: Any, admin: redis.Redis) -> None:
    async with batch():
        plain.delay()
        assert ids(admin) == []
    assert len(ids(admin)) == 1


async def test_a_task_that_outlives_the_block_sends_at_once(plain: Any, admin: redis.Redis) -> None:
    ended = asyncio.Event()

    async def later() -> None:
        await ended.wait()
        plain.delay()

    async with batch():
        task = asyncio.create_task(later())
        await asyncio.sleep(0)
    ended.set()
    await task
    assert len(ids(admin)) == 1


async def test_who_is_cancelled_as_the_block_ends_loses_nothing(
    plain: Any, batched: Any, admin: redis.Redis
) -> None:
    occupied, free, ends = threading.Event(), threading.Event(), asyncio.Event()

    def occupy() -> None:
        occupied.set()
        free.wait(60)

    async def send() -> None:
        async with batch():
            plain.delay()
            batched.delay()
            await ends.wait()

    loop, executor = asyncio.get_running_loop(), ThreadPoolExecutor(1)
    loop.set_default_executor(executor)
    busy = loop.run_in_executor(None, occupy)
    try:
        assert occupied.wait(60)
        sending = asyncio.create_task(send())
        await asyncio.sleep(0)
        ends.set()
        async with asyncio.timeout(60):
            while not executor._work_queue.qsize():
                await asyncio.sleep(0)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        wait_until(lambda: len(ids(admin)) == 2)
    finally:
        free.set()
    await busy


async def test_a_loop_without_threads_loses_nothing(plain: Any, admin: redis.Redis) -> None:
    await asyncio.get_running_loop().shutdown_default_executor()
    with pytest.raises(RuntimeError, match="shutdown"):
        async with batch():
            plain.delay()
    wait_until(lambda: len(ids(admin)) == 1)


def test_who_waits_inside_has_the_jobs_sent(plain: Any, admin: redis.Redis) -> None:
    with batch():
        result = plain.apply_async(ignore_result=False)
        assert result.state == "PENDING"
        assert ids(admin) == [result.id]


def test_a_job_may_be_revoked_inside(plain: Any, admin: redis.Redis) -> None:
    with batch():
        plain.apply_async(ignore_result=False).revoke()
    assert ids(admin) == []


def test_the_backend_is_told_what_is_revoked_inside(
    app: Celery, plain: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests: list[Any] = []
    monkeypatch.setattr(
        plain.backend, "store_result", lambda *args, request, **_: requests.append(request)
    )
    with batch():
        result = plain.apply_async((3,), ignore_result=False)
        result.revoke()
    (request,) = requests
    assert (request.id, request.task, request.args) == (result.id, plain.name, [3])
    # That of rpc:// answers there.
    assert (request.correlation_id, request.reply_to) == (result.id, app.thread_oid)


def test_a_job_that_nobody_can_read_may_be_revoked_inside(plain: Any) -> None:
    with batch():
        result = plain.apply_async(({"__type__": "uuid", "__value__": "no"},), ignore_result=False)
        result.revoke()
    assert result.state == "REVOKED"


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"serializer": "pickle"}])
def test_a_chord_hears_of_members_that_are_revoked_inside(
    plain: Any, admin: redis.Redis, options: dict[str, str]
) -> None:
    with batch():
        members = [plain.s(number).set(ignore_result=False, **options) for number in range(2)]
        result = chord(members, plain.s().set(ignore_result=False))()
        for member in result.parent.results:
            member.revoke()
    assert ids(admin) == []
    assert result.state == "FAILURE"
    assert "TaskRevokedError" in str(result.result)


def test_what_cannot_be_sent_is_sent_later_and_raises_nothing(
    app: Celery, plain: Any, server: EmbeddedServer, admin: redis.Redis
) -> None:
    with EmbeddedServer() as broker:
        other = Celery("other", broker=broker.url, set_as_current=False)
        other.conf.task_ignore_result = True

        @other.task(shared=False)
        def far() -> None: ...

        broker.kill()
        with batch(app=other):
            result = far.delay()
        assert result.id in batching.outbox()
        broker.restart()
        with redis.Redis("127.0.0.1", broker.port) as client:
            wait_until(lambda: ids(client) == [result.id])


def test_switched_off_it_does_nothing(plain: Any, admin: redis.Redis) -> None:
    with override_settings(REDIS_OPTIMIZER={"ENABLED": False}), batch():
        plain.delay()
        assert len(ids(admin)) == 1


def test_a_request_sends_ordinary_calls_and_lets_batched_ones_wait(
    app: Celery, plain: Any, batched: Any, admin: redis.Redis
) -> None:
    @app.task(
        shared=False, base=OptimizedTask, batch_size=100, batch_timeout=LONG, flush_on_response=True
    )
    def urgent() -> None: ...

    with Batch(is_request=True):
        first, second = plain.delay(), urgent.delay()
        waiting = batched.delay()
    assert ids(admin) == [first.id, second.id]
    assert waiting.id in batching.outbox()
