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

from redis_optimizer.stats.registry import registry
from redis_optimizer.tasks.results import RedisBackend
from redis_optimizer.tasks.results.counts import counter
from tests.servers import wait_until
from tests.tasks.results import (
    FAILED,
    KEPT,
    SERIALIZERS,
    context,
    counted,
    lasting,
    make_app,
    state,
    store,
)


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


@override_settings(REDIS_OPTIMIZER={"KEEP_SUCCEEDED": 1})
def test_sites_that_share_a_server_are_told_apart_by_their_prefix(admin: redis.Redis) -> None:
    for prefix in ("a", "b:"):
        app = make_app(result_backend_transport_options={"global_keyprefix": prefix})
        store(app, "j")
    kept = "redis_optimizer:default:kept:demo:SUCCESS"
    assert admin.lrange(f"a_{kept}", 0, -1) == ["a_celery-task-meta-j"]
    assert admin.lrange(f"b:{kept}", 0, -1) == ["b:celery-task-meta-j"]
    assert admin.ttl("a_celery-task-meta-j") > 60
    assert not admin.exists(kept)


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


def test_a_result_that_nobody_tells_of_is_found(app: Celery, admin: redis.Redis) -> None:
    """As when it is published after the read and before the server knows of the subscription."""
    result = AsyncResult("j", app=app)
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(result.get(timeout=60)))
    thread.start()
    wait_until(lambda: admin.pubsub_numsub("celery-task-meta-j")[0][1] == 1)
    meta = app.backend.encode({"status": states.SUCCESS, "result": 7, "task_id": "j"})
    admin.set("celery-task-meta-j", meta)
    thread.join(60)
    assert found == [7]


def test_what_is_stored_and_let_go_of_is_counted(app: Celery) -> None:
    counter.reset()
    for number in range(7):  # of which the last five are kept
        store(app, f"j{number}")
    store(app, "j6")  # a success is not overwritten
    assert registry.totals()["results"] == {"stored": 7, "pruned": 2}
    app.backend.store_many([(f"k{n}", 1, states.SUCCESS, None, context(f"k{n}")) for n in range(2)])
    assert counter.totals() == {"stored": 9, "pruned": 4}
