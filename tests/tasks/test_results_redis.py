"""What the Redis backend stores, keeps and lets go of."""

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

from redis_optimizer.tasks.results import RedisBackend
from tests.tasks.results import (
    FAILED,
    KEPT,
    SERIALIZERS,
    context,
    counted,
    lasting,
    make_app,
)


def store(
    app: Celery, job: str, state: str = states.SUCCESS, result: Any = None, **about: Any
) -> None:
    app.backend.store_result(job, result, state, request=context(job, **about))


def state(app: Celery, job: str) -> str:
    return app.backend.get_task_meta(job, cache=False)["status"]


@pytest.fixture
def app() -> Iterator[Celery]:
    app = make_app()
    yield app
    app.backend.client.close()


def test_the_url_is_celerys_own_behind_the_name() -> None:
    prefix = "redis_optimizer.tasks.results:"
    for url, expected in {
        "RedisBackend+redis://user:secret@there:7000/3": ("there", 7000, 3),
        "RedisBackend+rediss://there:7000/3?ssl_cert_reqs=required": ("there", 7000, 3),
    }.items():
        backend = make_app(result_backend=prefix + url).backend
        assert type(backend) is RedisBackend
        parameters = backend.connparams
        assert (parameters["host"], parameters["port"], parameters["db"]) == expected
        assert "secret" not in backend.as_uri()
    backend = make_app(result_backend=f"{prefix}RedisBackend+socket:///run/r.sock").backend
    assert backend.connparams["path"] == "/run/r.sock"


@pytest.mark.parametrize("serializer", SERIALIZERS)
def test_a_success_is_never_overwritten(serializer: str, admin: redis.Redis) -> None:
    app = make_app(result_serializer=serializer)
    store(app, "j", states.SUCCESS, {"status": "FAILURE"})
    before = admin.dump("celery-task-meta-j")
    store(app, "j", states.FAILURE, KeyError("lost"))
    store(app, "j", states.SUCCESS, 2)
    app.backend.store_many([("j", 3, states.REVOKED, None, context("j"))])
    assert admin.dump("celery-task-meta-j") == before
    assert admin.lrange(KEPT, 0, -1) == ["celery-task-meta-j"]
    assert not admin.exists(FAILED)


@pytest.mark.parametrize("serializer", SERIALIZERS)
def test_any_other_state_is_overwritten(serializer: str) -> None:
    app = make_app(result_serializer=serializer)
    for one in ("PROGRESS", states.STARTED, states.RETRY, states.FAILURE, states.SUCCESS):
        store(app, "j", one, KeyError("SUCCESS") if one in states.EXCEPTION_STATES else "SUCCESS")
        assert state(app, "j") == one


def test_a_success_in_another_format_is_seen(admin: redis.Redis) -> None:
    """As in a deployment that changes its serializer or has begun to compress."""
    store(make_app(result_serializer="pickle"), "j", states.SUCCESS, 1)
    before = admin.dump("celery-task-meta-j")
    store(make_app(), "other")
    with pytest.raises(Exception, match="utf-8"):  # as with Celery's own: it cannot be read
        store(make_app(), "j", states.FAILURE, KeyError())
    assert admin.dump("celery-task-meta-j") == before


def test_what_changes_between_look_and_store_is_looked_at_again(
    admin: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = make_app(result_serializer="pickle")
    store(app, "j", states.STARTED)
    decode = app.backend.decode

    def meanwhile(payload: bytes) -> Any:
        monkeypatch.setattr(app.backend, "decode", decode)
        store(app, "j", states.SUCCESS, "first")
        return decode(payload)

    monkeypatch.setattr(app.backend, "decode", meanwhile)
    store(app, "j", states.FAILURE, KeyError())
    assert app.backend.get_task_meta("j", cache=False)["result"] == "first"


def test_the_last_successes_and_failures_are_kept(app: Celery, admin: redis.Redis) -> None:
    for number in range(12):
        store(app, f"s{number}")
    for number in range(7):
        store(app, f"f{number}", states.REVOKED if number % 2 else states.FAILURE, KeyError())
    assert lasting(admin) == {"s7", "s8", "s9", "s10", "s11", "f4", "f5", "f6"}
    assert len(admin.keys("celery-task-meta-*")) == 19  # nothing is deleted at once
    assert admin.llen(KEPT) == 5
    assert admin.llen(FAILED) == 3


def test_no_list_outlives_its_results(app: Celery, admin: redis.Redis) -> None:
    store(app, "j")
    assert admin.ttl(KEPT) == admin.ttl("celery-task-meta-j") == 86400
    forever = make_app(result_expires=0)
    store(forever, "k")
    assert admin.ttl(KEPT) == admin.ttl("celery-task-meta-k") == -1


def test_a_grace_is_never_longer_than_what_was_left(admin: redis.Redis) -> None:
    app = make_app(result_expires=20)
    for number in range(6):
        store(app, f"s{number}")
    assert 0 < admin.ttl("celery-task-meta-s0") <= 20


def test_a_job_that_is_stored_again_counts_once(app: Celery, admin: redis.Redis) -> None:
    for job in ("a", "b", "c", "a", "a", "a"):
        store(app, job, states.FAILURE, KeyError())
    assert lasting(admin) == {"a", "b", "c"}
    store(app, "a", states.SUCCESS)
    assert admin.lrange(FAILED, 0, -1) == ["celery-task-meta-c", "celery-task-meta-b"]
    for number in range(3):
        store(app, f"f{number}", states.FAILURE, KeyError())
    assert lasting(admin) == {"a", "f0", "f1", "f2"}


@pytest.mark.parametrize("about", [{"group": "g"}, {"chord": {"task": "x"}}, {"task": None}])
def test_results_of_groups_and_of_nobody_are_not_counted(
    about: dict[str, Any], app: Celery, admin: redis.Redis
) -> None:
    for number in range(12):
        store(app, f"s{number}", **about)
    assert len(lasting(admin)) == 12
    assert not admin.keys("redis_optimizer:*")


def test_what_is_not_final_is_not_counted(app: Celery, admin: redis.Redis) -> None:
    for number in range(4):
        store(app, f"s{number}", states.STARTED)
        store(app, f"p{number}", "PROGRESS")
        store(app, f"r{number}", states.RETRY, KeyError())
    assert len(lasting(admin)) == 12


def test_the_task_says_how_many(app: Celery, admin: redis.Redis) -> None:
    app.tasks["demo"].keep_succeeded = 2
    app.tasks["demo"].keep_failed = 0  # all of them
    for number in range(7):
        store(app, f"s{number}")
        store(app, f"f{number}", states.FAILURE, KeyError())
    assert lasting(admin) == {"s5", "s6", *(f"f{number}" for number in range(7))}


@override_settings(REDIS_OPTIMIZER={"KEEP_SUCCEEDED": 1, "NAMESPACE": "mine"})
def test_the_settings_say_how_many(app: Celery, admin: redis.Redis) -> None:
    store(app, "a")
    store(app, "b")
    assert lasting(admin) == {"b"}
    assert admin.keys("redis_optimizer:*") == ["redis_optimizer:mine:kept:demo:SUCCESS"]


@override_settings(REDIS_OPTIMIZER={"ENABLED": False})
def test_switched_off_it_sends_what_celery_sends(app: Celery, admin: redis.Redis) -> None:
    def commands(backend: Any) -> list[str]:
        admin.flushall()
        with counted(admin) as sent:
            backend.on_task_call(None, "j")
            backend.store_result("j", 1, states.SUCCESS, request=context("j"))
            backend.get_task_meta("j")
            backend.remove_pending_result(AsyncResult("j", backend=backend))
        return sent

    plain = CeleryRedisBackend(app=app, url=settings.REDIS_TEST_URL)
    assert commands(app.backend) == commands(plain) != []
    assert app.backend.store_many([("k", 1, states.SUCCESS, None, context("k"))]) == {}
    assert state(app, "k") == states.SUCCESS
    assert not admin.keys("redis_optimizer:*")


def test_failures_expire_as_celery_says(admin: redis.Redis) -> None:
    app = make_app(result_expires=500, result_failure_expires=300)
    store(app, "j", states.FAILURE, KeyError())
    plain = CeleryRedisBackend(app=app, url=settings.REDIS_TEST_URL)
    plain.store_result("k", KeyError(), states.FAILURE)
    assert admin.ttl("celery-task-meta-j") == admin.ttl("celery-task-meta-k")


def test_a_script_that_the_server_has_lost_is_sent_anew(app: Celery, admin: redis.Redis) -> None:
    store(app, "a")
    admin.script_flush()
    store(app, "b")
    assert state(app, "b") == states.SUCCESS


def test_a_value_that_redis_cannot_hold_is_refused(
    app: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("redis_optimizer.tasks.results.redis.MAX_TEXT", 1000)
    with pytest.raises(Exception, match="value too large for Redis backend"):
        store(app, "j", result="x" * 1000)


def test_threads_do_not_mix_what_they_store(admin: redis.Redis) -> None:
    app = make_app(result_backend_thread_safe=True)
    app.tasks["demo"].keep_succeeded = 1000

    def run(name: int) -> None:
        for number in range(50):
            job = f"{name}-{number}"
            store(app, job, result=job)

    threads = [threading.Thread(target=run, args=(name,)) for name in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(lasting(admin)) == admin.llen(KEPT) == 400
    for job in lasting(admin):
        assert app.backend.get_task_meta(job)["result"] == job


class TestMany:
    def test_all_are_stored_and_counted(self, app: Celery, admin: redis.Redis) -> None:
        failed = {"f0", "f1", "f2", "f3"}
        outcomes = [(f"s{n}", n, states.SUCCESS, None, context(f"s{n}")) for n in range(450)]
        outcomes += [(f, KeyError(f), states.FAILURE, "tb", context(f)) for f in sorted(failed)]
        outcomes += [("g0", 1, states.SUCCESS, None, context("g0", group="g"))]
        assert app.backend.store_many(outcomes) == {}
        assert lasting(admin) == {"s445", "s446", "s447", "s448", "s449", "f1", "f2", "f3", "g0"}
        assert app.backend.get_task_meta("s3")["result"] == 3
        meta = app.backend.get_task_meta("f3")
        assert (meta["status"], repr(meta["result"]), meta["traceback"]) == (
            states.FAILURE,
            "KeyError('f3')",
            "tb",
        )

    def test_it_stores_what_store_result_stores(self, app: Celery) -> None:
        app.conf.result_extended = True
        about = {"args": [1], "retries": 2, "parent_id": "p", "hostname": "w"}
        store(app, "one", result=[1], **about)
        app.backend.store_many([("two", [1], states.SUCCESS, None, context("two", **about))])
        one, two = (app.backend.get_task_meta(job) for job in ("one", "two"))
        for meta in (one, two):
            del meta["date_done"], meta["task_id"]
        assert one == two

    def test_one_that_cannot_be_serialized_harms_itself_alone(self, app: Celery) -> None:
        errors = app.backend.store_many(
            [(job, object() if job == "b" else job, states.SUCCESS, None, context(job))
             for job in "abc"]
        )  # fmt: skip
        assert list(errors) == ["b"]
        assert [state(app, job) for job in "abc"] == ["SUCCESS", "FAILURE", "SUCCESS"]

    def test_nothing_is_nothing(self, app: Celery, admin: redis.Redis) -> None:
        with counted(admin) as sent:
            assert app.backend.store_many([]) == {}
        assert sent == []

    def test_large_ones_go_in_parts(
        self, app: Celery, admin: redis.Redis, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("redis_optimizer.tasks.results.redis.MAX_BYTES", 5000)
        store(app, "first")
        with counted(admin) as sent:
            app.backend.store_many(
                [(f"s{n}", "x" * 2000, states.SUCCESS, None, context(f"s{n}")) for n in range(5)]
            )
        assert sent == ["STORE"] * 3

    def test_with_always_retry_it_lasts_until_the_server_is_back(
        self, admin: redis.Redis, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        app = make_app(
            result_backend_always_retry=True,
            result_backend_transport_options={"retry_policy": {"max_retries": 0}},
        )
        script, calls = app.backend._script, []

        def break_first(*args: Any) -> Any:
            calls.append(args)
            if len(calls) < 3:
                raise redis.ConnectionError("gone")
            return script(*args)

        monkeypatch.setattr(app.backend, "_script", break_first)
        app.backend.store_many([(job, 1, states.SUCCESS, None, context(job)) for job in "ab"])
        assert [state(app, job) for job in "ab"] == ["SUCCESS", "SUCCESS"]
