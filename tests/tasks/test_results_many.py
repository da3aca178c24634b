"""Results of many jobs, stored by one script."""

from collections.abc import Iterator
from typing import Any

import pytest
import redis
from celery import Celery, states
from celery.exceptions import SoftTimeLimitExceeded

from tests.tasks.results import KEPT, context, counted, lasting, make_app, state, store


@pytest.fixture
def app() -> Iterator[Celery]:
    app = make_app()
    yield app
    app.backend.client.close()


def test_all_are_stored_and_counted(app: Celery, admin: redis.Redis) -> None:
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


def test_it_stores_what_store_result_stores(app: Celery) -> None:
    app.conf.result_extended = True
    about = {"args": [1], "retries": 2, "parent_id": "p", "hostname": "w"}
    store(app, "one", result=[1], **about)
    app.backend.store_many([("two", [1], states.SUCCESS, None, context("two", **about))])
    one, two = (app.backend.get_task_meta(job) for job in ("one", "two"))
    for meta in (one, two):
        del meta["date_done"], meta["task_id"]
    assert one == two


def test_one_that_cannot_be_serialized_harms_itself_alone(app: Celery) -> None:
    errors = app.backend.store_many(
        [(job, object() if job == "b" else job, states.SUCCESS, None, context(job))
         for job in "abc"]
    )  # fmt: skip
    assert list(errors) == ["b"]
    assert [state(app, job) for job in "abc"] == ["SUCCESS", "FAILURE", "SUCCESS"]


def test_one_that_is_too_large_harms_itself_alone(
    app: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("redis_optimizer.tasks.results.redis.MAX_TEXT", 5000)
    errors = app.backend.store_many(
        [(job, job * 5000 if job == "b" else job, states.SUCCESS, None, context(job))
         for job in "abc"]
    )  # fmt: skip
    assert list(errors) == ["b"]
    assert [state(app, job) for job in "abc"] == ["SUCCESS", "FAILURE", "SUCCESS"]


def test_one_whose_old_value_cannot_be_read_harms_itself_alone(
    app: Celery, admin: redis.Redis
) -> None:
    admin.set("celery-task-meta-b", b"\xff\xfe")
    errors = app.backend.store_many([(job, 1, states.SUCCESS, None, context(job)) for job in "abc"])
    assert list(errors) == ["b"]
    assert [state(app, job) for job in "ac"] == ["SUCCESS", "SUCCESS"]
    assert admin.lrange(KEPT, 0, -1) == ["celery-task-meta-c", "celery-task-meta-a"]


def test_where_the_server_is_away_all_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    app = make_app(result_backend_transport_options={"retry_policy": {"max_retries": 0}})

    def is_gone(*args: Any) -> Any:
        raise redis.ConnectionError("gone")

    monkeypatch.setattr(app.backend, "_script", is_gone)
    errors = app.backend.store_many([(job, 1, states.SUCCESS, None, context(job)) for job in "ab"])
    assert {job: str(error) for job, error in errors.items()} == {"a": "gone", "b": "gone"}


def test_nothing_is_nothing(app: Celery, admin: redis.Redis) -> None:
    with counted(admin) as sent:
        assert app.backend.store_many([]) == {}
    assert sent == []


def test_large_ones_go_in_parts(
    app: Celery, admin: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("redis_optimizer.tasks.results.redis.MAX_BYTES", 5000)
    store(app, "first")
    with counted(admin) as sent:
        app.backend.store_many(
            [(f"s{n}", "x" * 2000, states.SUCCESS, None, context(f"s{n}")) for n in range(5)]
        )
    assert sent == ["STORE"] * 3


def test_with_always_retry_it_lasts_until_the_server_is_back(
    admin: redis.Redis, monkeypatch: pytest.MonkeyPatch
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


def test_a_time_limit_is_no_failure_of_the_server(
    app: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def end(*args: Any) -> Any:
        asked.append(args)
        raise SoftTimeLimitExceeded

    monkeypatch.setattr(app.backend, "_script", end)
    with pytest.raises(SoftTimeLimitExceeded):
        app.backend.store_many([(job, 1, states.SUCCESS, None, context(job)) for job in "ab"])
    assert len(asked) == 1  # nor is each tried by itself
