"""What a result costs on the wire: what clients sent, without what a script called."""

from collections import Counter
from pathlib import Path

import pytest
import redis
from celery import Celery, states

from redis_optimizer.embedded import HOST, EmbeddedServer
from redis_optimizer.tasks.results.script import STORE
from tests.servers import wait_until
from tests.tasks.processes import Site
from tests.tasks.results import context, counted, make_app


@pytest.fixture
def app() -> Celery:
    return make_app()


def test_a_result_is_one_command_with_retention(app: Celery, admin: redis.Redis) -> None:
    app.backend.store_result("first", 1, states.SUCCESS)
    with counted(admin) as sent:
        for number in range(20):
            job = f"s{number}"
            app.backend.store_result(job, {}, states.STARTED, request=context(job))
            app.backend.store_result(job, 1, states.SUCCESS, request=context(job))
            app.backend.store_result(job, KeyError(), states.FAILURE, request=context(job))
    assert sent == ["STORE"] * 60


def test_a_hundred_results_are_one_command(app: Celery, admin: redis.Redis) -> None:
    app.backend.store_result("first", 1, states.SUCCESS)
    with counted(admin) as sent:
        app.backend.store_many(
            [(f"s{n}", n, states.SUCCESS, None, context(f"s{n}")) for n in range(100)]
        )
    assert sent == ["STORE"]


def test_a_look_at_a_result_is_one_command(app: Celery, admin: redis.Redis) -> None:
    app.backend.store_result("j", KeyError(), states.FAILURE)
    with counted(admin) as sent:
        assert app.AsyncResult("j").state == states.FAILURE
    assert sent == ["GET"]


def test_waiting_is_subscribe_look_and_unsubscribe(app: Celery, admin: redis.Redis) -> None:
    app.backend.store_result("j", 1, states.SUCCESS)
    with counted(admin) as sent:
        assert app.AsyncResult("j").get(timeout=60) == 1
    assert sent == ["SUBSCRIBE", "GET", "UNSUBSCRIBE"]


def test_a_result_that_was_awaited_is_forgotten_by_one(app: Celery, admin: redis.Redis) -> None:
    result = app.AsyncResult("j")
    app.backend.store_result("j", 1, states.SUCCESS)
    result.get(timeout=60)
    with counted(admin) as sent:
        result.forget()
        del result
    assert sent == ["DEL"]


def test_a_job_costs_its_sender_one_command_and_its_result_one(
    tmp_path: Path, server: EmbeddedServer, admin: redis.Redis
) -> None:
    backend = f"redis_optimizer.tasks.results:RedisBackend+redis://{HOST}:{server.port}/0"
    tasks = ["tests.tasks.site.results"]
    site = Site(tmp_path, server.port, tasks=tasks, settings={"CELERY_RESULT_BACKEND": backend})
    send = "from tests.tasks.site.results import add\nfor n in range({}): add.delay(n)"
    with counted(admin) as few:
        site.produce(send.format(1))
    with counted(admin) as sent:
        site.produce(send.format(51))
    assert Counter(sent) - Counter(few) == {"LPUSH": 50}

    admin.script_load(STORE)
    with counted(admin) as sent, site.worker("-c", "1"):
        wait_until(lambda: len(admin.keys("celery-task-meta-*")) == 52)
    assert sent.count("STORE") == 52
    assert not {"SETEX", "SET", "PUBLISH", "GET", "SUBSCRIBE"} & often(sent)


def often(sent: list[str]) -> set[str]:
    """Return what is sent for each job: not heartbeats and the like."""
    return {name for name, count in Counter(sent).items() if count >= 50}
