"""The latest arguments, step by step: what happens when a step happens twice, or never."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest import mock

import pytest
import redis
from celery import Celery
from celery.exceptions import Ignore
from kombu import Exchange, Queue
from kombu.exceptions import ContentDisallowed, EncodeError, OperationalError

from redis_optimizer.embedded import EmbeddedServer
from redis_optimizer.signals import jobs_lost
from redis_optimizer.tasks import OptimizedTask, latest, scripts
from redis_optimizer.tasks.keys import key_of
from redis_optimizer.tasks.resume import goes_on, has_kept
from tests.tasks.dedup import locks
from tests.tasks.queues import arguments, ids, messages

OTHER = Queue("other", Exchange("others"), routing_key="other")


@pytest.fixture
def app(server: EmbeddedServer) -> Iterator[Celery]:
    app = Celery("latest", broker=server.url, set_as_current=False)
    app.conf.task_ignore_result = True
    yield app
    app.close()


class Worker:
    """Runs a task's jobs here, as far as they touch Redis."""

    def __init__(self, app: Celery, mode: str) -> None:
        ran: list[int] = []
        self.ran = ran
        self.request: Any = None

        @app.task(base=OptimizedTask, shared=False, dedup=mode, dedup_on="key", dedup_ttl=60)
        def sync(key: str, number: int) -> None:
            ran.append(number)

        self.task: Any = sync
        self.key = key_of(sync, ("a", 0), {})

    def call(self, number: int) -> str:
        id: str = self.task.delay("a", number).id
        return id

    def start(self, id: str, number: int, retries: int = 0) -> None:
        """Run a job whose message has a number."""
        task = self.task
        request = {"id": id, "retries": retries, "redis_optimizer_dedup": self.key}
        about = {"routing_key": "celery", "exchange": ""}
        args = ["a", number]
        task.push_request(
            **request, args=args, kwargs={}, called_directly=False, delivery_info=about
        )
        self.request = task.request_stack.top
        try:
            task.run(*args)
        finally:
            task.pop_request()

    def end(self, id: str) -> None:
        latest.finish(self.task, self.key, id)


@pytest.fixture
def last(app: Celery) -> Worker:
    return Worker(app, "keep_last")


@pytest.fixture
def debounced(app: Celery) -> Worker:
    return Worker(app, "debounce")


def test_an_end_that_is_heard_of_twice_sends_once(last: Worker, admin: redis.Redis) -> None:
    first = last.call(1)
    last.start(first, 1)
    second = last.call(2)
    last.end(first)
    last.end(first)
    assert ids(admin) == [first, second]
    assert arguments(messages(admin)[1]) == (["a", 2], {})


@contextmanager
def failing(name: str, error: Exception, *, is_run: bool = False) -> Iterator[None]:
    """Let a script fail once: before it has run, or after."""
    script = getattr(scripts, name)
    errors = [error]

    def run(*args: Any) -> Any:
        if errors and is_run:
            script(*args)
        if errors:
            raise errors.pop()
        return script(*args)

    with mock.patch.object(scripts, name, run):
        yield


def test_a_lost_reply_to_an_end_loses_nothing(last: Worker, admin: redis.Redis) -> None:
    first = last.call(1)
    last.start(first, 1)
    second = last.call(2)
    with failing("FINISH", redis.ConnectionError("gone"), is_run=True):
        last.end(first)
    last.end(first)
    assert ids(admin) == [first, second]


def test_an_end_that_is_refused_is_told_with_the_next(
    app: Celery, last: Worker, admin: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    first = last.call(1)
    last.start(first, 1)
    second = last.call(2)
    with failing("FINISH", redis.ResponseError("OOM")):
        last.end(first)
    assert f"Job {first} is over; what may wait for it is sent later: OOM" in caplog.text
    assert ids(admin) == [first]
    last.end("another")
    assert ids(admin) == [first, second]
    assert not latest._untold


def test_while_ends_are_refused_each_asks_for_one_other(last: Worker) -> None:
    refuse = mock.Mock(side_effect=redis.ResponseError("OOM"))
    with mock.patch.object(scripts, "FINISH", refuse):
        for number in range(10):
            last.end(f"job{number}")
    assert refuse.call_count == 1 + 9 * 2
    last.end("another")  # by which all are told


@pytest.mark.parametrize("mode", ["keep_last", "debounce"])
def test_the_lock_of_a_lost_job_lapses_though_calls_go_on(
    app: Celery, admin: redis.Redis, mode: str
) -> None:
    worker = Worker(app, mode)
    worker.call(1)
    admin.pexpire(worker.key, 30_000)
    worker.call(2)
    assert admin.pttl(worker.key) <= 30_000


def test_what_waits_has_a_time_of_its_own(last: Worker, admin: redis.Redis) -> None:
    """The job that runs may take longer than its lock has left."""
    last.start(last.call(1), 1)
    admin.pexpire(last.key, 30_000)
    last.call(2)
    assert admin.pttl(last.key) > 55_000
    admin.pexpire(last.key, 30_000)
    last.call(3)
    assert admin.pttl(last.key) <= 30_000


def test_calls_between_an_end_and_the_next_start_are_the_next(last: Worker) -> None:
    first = last.call(1)
    last.start(first, 1)
    second = last.call(2)
    last.end(first)
    assert last.call(3) == second
    last.start(second, 2)
    assert last.ran == [1, 3]
    last.end(second)


def test_the_next_may_be_over_before_it_starts(last: Worker, admin: redis.Redis) -> None:
    first = last.call(1)
    last.start(first, 1)
    second = last.call(2)
    last.end(second)  # not yet: the first still runs
    assert last.call(3) == second
    last.end(first)
    last.end(second)
    assert locks(admin) == []


def test_a_job_that_runs_again_after_its_end_sends_again(last: Worker, admin: redis.Redis) -> None:
    """It was killed after it had ended, before it had sent what waits."""
    first = last.call(1)
    last.start(first, 1)
    second = last.call(2)
    last.end(first)
    admin.rpop("celery", 2)
    last.start(first, 1)
    last.end(first)
    assert ids(admin) == [second]


def test_a_job_that_runs_again_after_the_next_began_leaves_it_alone(
    last: Worker, admin: redis.Redis
) -> None:
    first = last.call(1)
    last.start(first, 1)
    second = last.call(2)
    last.end(first)
    last.start(second, 2)
    last.start(first, 1)
    last.end(first)
    assert admin.hget(last.key, "id") == second
    last.end(second)
    assert locks(admin) == []


def test_a_job_whose_lock_has_lapsed_takes_it_again(last: Worker, admin: redis.Redis) -> None:
    first = last.call(1)
    admin.delete(last.key)
    last.start(first, 1)
    assert last.call(2) != first
    assert ids(admin) == [first]


def test_a_job_whose_lock_another_has_by_now_runs_beside_it(
    last: Worker, admin: redis.Redis
) -> None:
    first = last.call(1)
    admin.delete(last.key)
    second = last.call(2)
    last.start(first, 1)
    last.end(first)
    assert last.ran == [1]
    assert admin.hget(last.key, "id") == second


def test_what_waits_and_cannot_be_sent_is_said_to_be_lost(
    last: Worker, admin: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    first = last.call(1)
    last.start(first, 1)
    second = last.call(2)
    receiver = mock.Mock()
    jobs_lost.connect(receiver)
    try:
        with (
            mock.patch.object(last.task, "apply_async", side_effect=OperationalError("no")),
            caplog.at_level(logging.CRITICAL, "redis_optimizer"),
        ):
            last.end(first)
    finally:
        jobs_lost.disconnect(receiver)
    assert f"[{second}] is lost. It cannot be sent: no" in caplog.text
    assert receiver.call_args.kwargs["ids"] == [second]
    assert locks(admin) == []


def test_what_waits_is_sent_with_the_options_of_its_call(last: Worker, admin: redis.Redis) -> None:
    first = last.call(1)
    last.start(first, 1)
    then = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    options = {"countdown": 20, "expires": 1e9, "priority": 0, "ignore_result": False}
    with mock.patch.object(last.task.app, "now", return_value=then):
        last.task.apply_async(("a", 2), **options)
    last.end(first)
    sent = messages(admin)[1]
    assert sent["properties"]["priority"] == 0
    assert sent["headers"]["ignore_result"] is False
    assert sent["headers"]["eta"] == "2026-01-02T03:04:25+00:00"
    assert sent["headers"]["expires"] == (then + timedelta(seconds=1e9)).isoformat()


def test_what_waits_may_lift_what_its_task_says(last: Worker, admin: redis.Redis) -> None:
    last.task.expires = 1e9
    first = last.call(1)
    last.start(first, 1)
    last.task.apply_async(("a", 2), expires=None)
    last.end(first)
    assert messages(admin)[0]["headers"]["expires"]
    assert messages(admin)[1]["headers"]["expires"] is None


def test_the_lock_lasts_until_what_waits_is_due(last: Worker, admin: redis.Redis) -> None:
    first = last.call(1)
    last.start(first, 1)
    last.task.apply_async(("a", 2), countdown=1_000)
    last.end(first)
    assert 1_050_000 < admin.pttl(last.key) <= 1_060_000


@pytest.mark.parametrize(
    ("mode", "script"), [("keep_last", "CLAIM_LAST"), ("debounce", "CLAIM_DEBOUNCED")]
)
class TestArgumentsThatCannotBeHad:
    def test_the_job_runs_later(
        self, app: Celery, admin: redis.Redis, mode: str, script: str
    ) -> None:
        worker = Worker(app, mode)
        job = worker.call(1)
        worker.call(2)
        admin.hset(worker.key, "due", 0)
        with failing(script, redis.ResponseError("OOM")), pytest.raises(Ignore):
            worker.start(job, 1)
        assert worker.ran == []
        assert goes_on(worker.request)
        again = messages(admin)[-1]
        assert again["headers"]["id"] == job
        assert again["headers"]["eta"]
        worker.start(job, 1)
        assert worker.ran == [2]

    def test_where_it_cannot_it_fails(
        self, app: Celery, admin: redis.Redis, mode: str, script: str
    ) -> None:
        worker = Worker(app, mode)
        job = worker.call(1)
        no = OperationalError("no")
        with (
            failing(script, redis.ResponseError("OOM")),
            mock.patch.object(worker.task, "apply_async", side_effect=no),
            pytest.raises(OperationalError),
        ):
            worker.start(job, 1)
        assert worker.ran == []
        assert not goes_on(worker.request)
        assert has_kept(worker.request) == (mode == "debounce")  # its end drops the lock


def test_a_job_waits_until_it_is_due(debounced: Worker, admin: redis.Redis) -> None:
    job = debounced.call(1)
    debounced.call(2)
    with pytest.raises(Ignore):
        debounced.start(job, 1)
    assert debounced.ran == []
    again = messages(admin)[-1]
    assert again["headers"]["id"] == job
    assert again["headers"]["eta"]
    assert again["headers"]["redis_optimizer_dedup"] == debounced.key
    assert arguments(again) == (["a", 2], {})


def test_a_job_that_is_due_and_runs_again_has_what_it_had(
    debounced: Worker, admin: redis.Redis
) -> None:
    job = debounced.call(1)
    debounced.call(2)
    admin.hset(debounced.key, "due", 0)
    debounced.start(job, 1)
    other = debounced.call(3)
    assert other != job
    debounced.start(job, 1)
    assert debounced.ran == [2, 2]
    latest.drop(debounced.task.app, debounced.key, job)
    assert locks(admin) == [debounced.key]
    assert admin.hget(debounced.key, "id") == other


def test_a_job_waits_for_less_than_the_visibility_timeout(app: Celery) -> None:
    assert latest.pause(app, 1) == pytest.approx(1.1)
    assert latest.pause(app, 600) == 601
    assert latest.pause(app, 7_000) == 1_800


@pytest.mark.parametrize("mode", ["keep_last", "debounce"])
def test_a_retry_has_the_arguments_of_its_message(app: Celery, mode: str) -> None:
    worker = Worker(app, mode)
    job = worker.call(1)
    worker.call(2)
    worker.start(job, 5, retries=1)
    assert worker.ran == [5]


@pytest.mark.parametrize("mode", ["keep_last", "debounce"])
def test_what_was_kept_lapses(app: Celery, admin: redis.Redis, mode: str) -> None:
    worker = Worker(app, mode)
    job = worker.call(1)
    worker.call(2)
    admin.hset(worker.key, "due", 0)
    worker.start(job, 1)
    limit = 60_000 if mode == "keep_last" else 60_000 + 7_200_000
    for key in locks(admin):
        assert limit - 5_000 < admin.pttl(key) <= limit


@pytest.mark.parametrize("serializer", ["json", "pickle", "yaml", "msgpack"])
def test_times_are_kept_as_texts(last: Worker, serializer: str) -> None:
    last.task.app.conf.accept_content = [serializer]
    then = datetime(2026, 1, 2, tzinfo=UTC)
    call = ((), {}, {"eta": then, "serializer": serializer})
    _, _, options = latest.unpack(last.task.app, latest.pack(last.task, call))
    assert options["eta"] == "2026-01-02T00:00:00+00:00"


@pytest.mark.parametrize("serializer", ["json", "pickle", "yaml", "msgpack"])
def test_a_call_is_kept_as_its_message_would_be(last: Worker, serializer: str) -> None:
    last.task.app.conf.accept_content = [serializer]
    call = (["a", 1], {"more": "é"}, {"priority": 3, "serializer": serializer})
    packed = latest.pack(last.task, call)
    assert tuple(latest.unpack(last.task.app, packed)) == call
    last.task.app.conf.accept_content = []
    with pytest.raises(ContentDisallowed):
        latest.unpack(last.task.app, packed)


@pytest.mark.parametrize("mode", ["until_executed", "throttle", "debounce", "keep_last"])
@pytest.mark.parametrize(
    "options",
    [
        {"queue": OTHER},
        {"exchange": OTHER.exchange, "routing_key": "other"},
        {"queue": "other", "retry_policy": {"max_retries": 1, "retry_errors": (TimeoutError,)}},
        {"queue": "other", "declare": [OTHER]},
    ],
)
def test_options_may_be_objects(
    app: Celery, admin: redis.Redis, mode: str, options: dict[str, Any]
) -> None:
    worker = Worker(app, mode)
    with app.connection_for_write() as connection:
        OTHER(connection).declare()
    first = worker.task.apply_async(("a", 1), **options).id
    assert ids(admin, "other") == [first]
    if mode == "keep_last":
        worker.start(first, 1)
        second = worker.task.apply_async(("a", 2), **options).id
        worker.end(first)
        assert ids(admin, "other") == [first, second]


def test_what_cannot_be_sent_fails_at_the_call(last: Worker, admin: redis.Redis) -> None:
    with pytest.raises(EncodeError):
        last.task.delay("a", object())
    assert admin.keys() == []
