"""What becomes of jobs when their parts are switched off and on while calls are made."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from celery import Celery, states
from celery.backends.redis import RedisBackend as CeleryRedisBackend
from celery.result import AsyncResult
from django.conf import settings
from django.test import override_settings

from redis_optimizer.embedded import EmbeddedServer
from redis_optimizer.stats.desk import desk
from redis_optimizer.switches import State, learn
from redis_optimizer.tasks import OptimizedTask, batch, batching
from tests.servers import wait_until
from tests.tasks.queues import envelopes, ids
from tests.tasks.results import context, counted, make_app

LONG = 3600.0


class Switch:
    """Switches parts of this process, each time a little later."""

    at = 0.0

    def __call__(self, part: str, on: bool) -> None:
        self.at += 1
        learn({part: State(on=on, at=self.at)})


@pytest.fixture
def switch() -> Switch:
    return Switch()


@pytest.fixture
def app(server: EmbeddedServer) -> Iterator[Celery]:
    with override_settings(REDIS_OPTIMIZER={"ENVELOPES": True}):
        app = Celery("switched", broker=server.url, set_as_current=False)
        app.conf.task_ignore_result = True
        yield app
        batching.outbox().close(0)
        batching._forget()
        app.close()


@pytest.fixture
def add(app: Celery) -> Any:
    @app.task(shared=False, base=OptimizedTask, batch_size=3, batch_timeout=LONG)
    def add(number: int = 0) -> None: ...

    return add


def all_jobs(admin: redis.Redis) -> list[str]:
    """Return the ids of all jobs that are queued, however they travel."""
    return ids(admin) + [job.id for jobs in envelopes(admin) for job in jobs]


class TestBatching:
    def test_what_waits_leaves_when_it_is_switched_off(
        self, add: Any, admin: redis.Redis, switch: Switch
    ) -> None:
        results = [add.delay(1), add.delay(2)]
        switch("batching", False)
        wait_until(lambda: ids(admin) == [result.id for result in results])
        assert envelopes(admin) == []
        wait_until(lambda: not batching.is_pending())

    def test_calls_are_sent_at_once_while_it_is_off(
        self, add: Any, admin: redis.Redis, switch: Switch
    ) -> None:
        switch("batching", False)
        results = []
        for number in range(4):
            results.append(add.delay(number))
            assert ids(admin) == [result.id for result in results]
        assert envelopes(admin) == []
        switch("batching", True)
        for number in range(3):
            add.delay(number)
        assert (len(ids(admin)), len(envelopes(admin))) == (4, 1)

    def test_a_call_does_not_overtake_those_before_it(
        self, add: Any, admin: redis.Redis, switch: Switch, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        results = [add.delay(1), add.delay(2)]
        monkeypatch.setattr(batching.outbox(), "hand_over", lambda timeout: (0, 2))  # it dawdles
        switch("batching", False)
        results.append(add.delay(3))
        assert ids(admin) == [result.id for result in results]

    def test_a_block_that_is_open_sends_what_it_holds_and_holds_no_more(
        self, app: Celery, add: Any, admin: redis.Redis, switch: Switch
    ) -> None:
        @app.task(shared=False)
        def plain() -> None: ...

        with batch(app=app):
            results = [plain.delay(), add.delay(1)]
            assert ids(admin) == []
            switch("batching", False)
            results += [plain.delay(), add.delay(2)]
            assert sorted(ids(admin)) == sorted(result.id for result in results)
        with batch(app=app):
            plain.delay()
            assert len(ids(admin)) == 5
        switch("batching", True)
        with batch(app=app):
            plain.delay()
            assert len(ids(admin)) == 5
        assert len(ids(admin)) == 6

    def test_no_job_is_lost_or_sent_twice_while_it_is_switched(
        self, add: Any, admin: redis.Redis, switch: Switch
    ) -> None:
        sent: list[str] = []
        done = threading.Event()

        def call() -> None:
            while not done.is_set():
                sent.append(add.delay().id)

        threads = [threading.Thread(target=call) for _ in range(3)]
        for thread in threads:
            thread.start()
        for number in range(20):
            before = len(sent)
            wait_until(lambda before=before: len(sent) > before + 5)
            switch("batching", bool(number % 2))
        done.set()
        for thread in threads:
            thread.join(60)
        batching.flush_all()
        wait_until(lambda: not batching.is_pending())
        queued = all_jobs(admin)
        assert len(queued) == len(sent)
        assert set(queued) == set(sent)


class TestFlush:
    def test_all_that_waits_is_handed_to_the_thread_and_counted(
        self, add: Any, admin: redis.Redis
    ) -> None:
        assert batching.hand_over(30) == {"jobs": 0, "left": 0}
        add.delay(1)
        add.delay(2)
        done: list[dict[str, int]] = []
        thread = threading.Thread(target=lambda: done.append(batching.hand_over(300)), daemon=True)
        thread.start()
        thread.join(60)  # it waits no longer than it must
        assert done == [{"jobs": 2, "left": 0}]
        assert len(all_jobs(admin)) == 2

    def test_a_delay_is_not_kept_to(self, app: Celery, admin: redis.Redis) -> None:
        @app.task(shared=False, base=OptimizedTask, batch_size=2, batch_delay=LONG)
        def add() -> None: ...

        for _ in range(3):
            add.delay()
        wait_until(lambda: len(all_jobs(admin)) == 2)  # the full ones, perhaps by the thread
        assert batching.hand_over(30) == {"jobs": 1, "left": 0}
        assert len(all_jobs(admin)) == 3

    def test_what_a_broker_does_not_take_is_left_and_not_lost(
        self, add: Any, admin: redis.Redis, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*arguments: Any) -> None:
            raise redis.ConnectionError

        with monkeypatch.context() as patch:
            patch.setattr(batching.outbox(), "_dispatch", fail)
            add.delay(1)
            assert batching.hand_over(0.05) == {"jobs": 0, "left": 1}
        wait_until(lambda: len(all_jobs(admin)) == 1)

    def test_it_is_what_a_process_does_when_it_is_asked_to(self) -> None:
        assert desk._actions["flush"] == (batching.hand_over, True)


class TestDedup:
    @pytest.fixture
    def sync(self, app: Celery) -> Any:
        @app.task(shared=False, base=OptimizedTask, dedup="until_executed", dedup_ttl=100)
        def sync(user: int) -> None: ...

        return sync

    def test_calls_are_jobs_of_their_own_while_it_is_off(
        self, sync: Any, admin: redis.Redis, switch: Switch
    ) -> None:
        switch("dedup", False)
        results = [sync.delay(1), sync.delay(1)]
        assert ids(admin) == [result.id for result in results]
        assert admin.keys("redis_optimizer:default:dedup:*") == []
        switch("dedup", True)
        assert sync.delay(1).id == sync.delay(1).id


class TestResults:
    def test_switched_off_it_sends_what_celery_sends(
        self, admin: redis.Redis, switch: Switch
    ) -> None:
        app = make_app()

        def commands(backend: Any) -> list[str]:
            admin.flushall()
            with counted(admin) as sent:
                backend.on_task_call(None, "j")
                backend.store_result("j", 1, states.SUCCESS, request=context("j"))
                backend.get_task_meta("j")
                backend.remove_pending_result(AsyncResult("j", backend=backend))
            return sent

        plain = CeleryRedisBackend(app=app, url=settings.REDIS_TEST_URL)
        with_it = commands(app.backend)
        switch("results", False)
        assert commands(app.backend) == commands(plain) != with_it
        many = [("k", 1, states.SUCCESS, None, context("k"))]
        assert app.backend.store_many(many) == {}
        assert not admin.keys("redis_optimizer:*")
        switch("results", True)
        assert app.backend.store_many([("l", 1, states.SUCCESS, None, context("l"))]) == {}
        assert admin.keys("redis_optimizer:*")
        app.backend.client.close()
