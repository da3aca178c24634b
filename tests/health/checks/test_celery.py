"""Celery's broker and workers are looked at, in bounded time and without asking a worker."""

import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from celery import Celery
from celery.app import app_or_default
from kombu import Queue
from kombu.exceptions import OperationalError

from redis_optimizer.embedded import HOST, EmbeddedServer
from redis_optimizer.health.base import Degraded
from redis_optimizer.health.checks import Broker, Workers
from redis_optimizer.health.checks.celery import NoWorkers
from redis_optimizer.health.runner import run_checks
from redis_optimizer.tasks import heartbeat
from tests.cache.caches import counted
from tests.health.checks.caches import frozen, outcome
from tests.servers import wait_until

KEY = "redis_optimizer:default:workers"
CONNECTS = {"hello", "client|setinfo", "select"}  # what redis-py's versions send


@pytest.fixture
def app(server: EmbeddedServer) -> Iterator[Celery]:
    """Make an app on the test's server the current one."""
    before = app_or_default()
    app = Celery("site", broker=f"redis://{HOST}:{server.port}/0")
    app.conf.task_queues = [Queue("celery"), Queue("mail")]
    yield app
    before.set_current()
    app.close()


def one(kind: Any, **options: Any) -> Any:
    (check,) = kind.instances(**options)
    return check


def without_connects(calls: dict[str, int]) -> dict[str, int]:
    return {name: count for name, count in calls.items() if name not in CONNECTS}


def test_without_celery_there_is_no_such_check_and_none_is_loaded() -> None:
    code = """
import sys
from redis_optimizer.health.checks import Broker, Workers
assert Broker.instances() == Workers.instances() == []
assert not {"celery", "kombu"} & set(sys.modules)
"""
    env = {"DJANGO_SETTINGS_MODULE": "tests.settings"}
    subprocess.run([sys.executable, "-c", code], env=env, check=True)


@pytest.mark.parametrize("kind", [Broker, Workers])
def test_it_is_for_a_broker_on_redis(app: Celery, kind: Any) -> None:
    (check,) = kind.instances()
    assert (check.name, check.critical, check.ready) == (kind.__name__.lower(), False, False)
    app.conf.broker_url = "amqp://localhost"
    assert kind.instances() == []


def test_in_whatever_thread_it_is_of_the_app_that_was_current(app: Celery) -> None:
    check = one(Broker)
    assert outcome(check.run) is None
    assert outcome(one(Broker, app=app).run) is None
    assert "site" not in repr(check)


def test_what_is_queued_is_counted_by_queue(app: Celery, admin: redis.Redis) -> None:
    admin.rpush("celery", "one", "two")
    admin.rpush("celery\x06\x166", "three")
    admin.rpush("celery.batches", "envelope")
    admin.rpush("celery.batches\x06\x169", "envelope")
    admin.rpush("mail", "one")
    admin.rpush("unknown", "one")
    admin.hset("unacked", mapping={"a": "1", "b": "2"})
    assert one(Broker).run() == {
        "celery": (5, "messages"),
        "mail": (1, "messages"),
        "unacked": (2, "messages"),
    }


def test_keys_of_a_site_that_has_a_prefix(app: Celery, admin: redis.Redis) -> None:
    app.conf.broker_transport_options = {"global_keyprefix": "a:", "priority_steps": [0, 5]}
    admin.rpush("a:mail\x06\x165", "one")
    admin.hset("a:unacked", "a", "1")
    admin.zadd(f"a:{KEY}", {"w1": time.time()})
    broker: Any = one(Broker).run()
    assert (broker["mail"].value, broker["unacked"].value) == (1, 1)
    workers: Any = one(Workers).run()
    assert workers["workers"].value == 1


def test_too_much_in_one_queue_degrades_the_site(app: Celery, admin: redis.Redis) -> None:
    admin.rpush("celery", *range(3))
    admin.rpush("mail", *range(5))
    with pytest.raises(Degraded, match="5 messages are queued in mail") as raised:
        one(Broker, max_depth=4).run()
    assert raised.value.observed is not None
    assert raised.value.observed["celery"] == (3, "messages")
    one(Broker, max_depth=5).run()


def test_of_many_queues_the_fullest_are_observed(app: Celery, admin: redis.Redis) -> None:
    app.conf.task_queues = [Queue(f"q{number}") for number in range(60)]
    admin.rpush("q59", "one")
    observed: Any = one(Broker).run()
    assert len(observed) == 21
    assert observed["q59"].value == 1


def test_it_is_one_round_trip_and_no_connection_stays(app: Celery, admin: redis.Redis) -> None:
    before = len(admin.client_list())
    with counted(admin) as calls:
        one(Broker).run()
    # Two queues, each with its envelopes, at four priorities; kombu pings as it connects.
    assert without_connects(calls) == {"llen": 16, "hlen": 1, "ping": 1}
    with counted(admin) as calls:
        one(Workers, minimum=0).run()
    assert without_connects(calls) == {"zcount": 1, "zrevrange": 1, "ping": 1}
    wait_until(lambda: len(admin.client_list()) == before)


@pytest.mark.parametrize("kind", [Broker, Workers])
@pytest.mark.parametrize("ends", ["frozen", "stopped"])
def test_a_broker_that_does_not_answer_does_not_hold_it(app: Celery, kind: Any, ends: str) -> None:
    with EmbeddedServer() as other:
        app.conf.broker_url = f"redis://{HOST}:{other.port}/0"
        check = one(kind, timeout=0.3)
        outcome(check.run)
        if ends == "stopped":
            other.stop()
            assert isinstance(outcome(check.run), OperationalError)
        else:
            with frozen(other):
                assert isinstance(outcome(check.run), OperationalError)


@pytest.mark.parametrize("kind", [Broker, Workers])
def test_of_a_broker_that_is_gone_the_reason_is_told(app: Celery, kind: Any) -> None:
    with EmbeddedServer() as other:
        app.conf.broker_url = f"redis://{HOST}:{other.port}/0"
    check = one(kind, timeout=60)
    report = run_checks([check], 60, check.seconds)
    assert "refused" in report.results[0].error


def test_workers_that_are_switched_off_are_not_missed(app: Celery, settings: Any) -> None:
    settings.REDIS_OPTIMIZER = {"ENABLED": False}
    assert [Workers.instances(), len(list(Broker.instances()))] == [[], 1]


def test_workers_that_were_heard_of_are_alive(app: Celery, admin: redis.Redis) -> None:
    now = time.time()
    admin.zadd(KEY, {"w1": now - 100, "w2": now - 130, "w3": now - heartbeat.LAPSE - 1})
    observed: Any = one(Workers, minimum=2).run()
    assert observed["workers"] == (2, "workers")
    value, unit = observed["last_word"]
    assert (value >= 100, unit) == (True, "s")


def test_too_few_workers(app: Celery, admin: redis.Redis) -> None:
    with pytest.raises(NoWorkers, match=r"0 workers are alive, 1 should be.*never"):
        one(Workers).run()
    admin.zadd(KEY, {"w1": time.time() - 1000})
    with pytest.raises(NoWorkers, match=r"1\d\d\d s ago"):
        one(Workers).run()
    admin.zadd(KEY, {"w2": time.time()})
    with pytest.raises(NoWorkers, match="1 workers are alive, 2 should be"):
        one(Workers, minimum=2).run()
    one(Workers).run()


def test_a_worker_whose_clock_is_ahead_is_heard_of_now(app: Celery, admin: redis.Redis) -> None:
    admin.zadd(KEY, {"w1": time.time() + 1000})
    observed: Any = one(Workers).run()
    assert observed["last_word"].value == 0
