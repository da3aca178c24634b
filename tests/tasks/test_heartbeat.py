"""Workers say that they are alive, by less than a command a minute."""

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import redis
from celery import Celery

from redis_optimizer.embedded import HOST, EmbeddedServer
from redis_optimizer.tasks import heartbeat
from redis_optimizer.tasks.heartbeat import BEAT, KEEP, LAPSE, TIDY, Heard, Heartbeat, hear
from tests.cache.caches import counted
from tests.servers import connect, wait_until
from tests.tasks.consumer import Consumer
from tests.tasks.processes import Site

KEY = "redis_optimizer:default:workers"


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def time(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(heartbeat, "time", clock)
    return clock


@pytest.fixture
def app(server: EmbeddedServer) -> Iterator[Celery]:
    app = Celery("p", broker=f"redis://{HOST}:{server.port}/0", set_as_current=False)
    yield app
    app.close()


@pytest.fixture
def consumer(app: Celery) -> Iterator[Consumer]:
    made = Consumer(app)
    yield made
    made.connection.release()


def test_a_worker_is_alive_until_it_says_nothing(
    app: Celery, clock: Clock, consumer: Consumer
) -> None:
    assert hear(app, 5) == Heard(0, None)
    step = Heartbeat(consumer)
    step.start(consumer)
    began = clock.now
    assert hear(app, 5) == Heard(1, began)
    clock.now += LAPSE
    assert hear(app, 5) == Heard(1, began)
    clock.now += 1
    assert hear(app, 5) == Heard(0, began)
    consumer.tick()
    assert hear(app, 5) == Heard(1, clock.now)


def test_a_beat_is_one_command_over_the_connection_that_is_there(
    clock: Clock, consumer: Consumer, admin: redis.Redis
) -> None:
    step = Heartbeat(consumer)
    step.start(consumer)
    assert consumer.seconds == BEAT >= 60
    before = len(admin.client_list())
    with counted(admin) as calls:
        for _ in range(TIDY - 1):
            consumer.tick()
    assert calls == {"zadd": TIDY - 1}
    assert len(admin.client_list()) == before
    with counted(admin) as calls:
        consumer.tick()
    assert calls == {"zadd": 1, "zremrangebyscore": 1, "expire": 1}


def test_a_server_that_was_connected_anew_is_told_all(
    clock: Clock, consumer: Consumer, admin: redis.Redis
) -> None:
    step = Heartbeat(consumer)
    for _ in range(2):
        step.start(consumer)
        assert 0 < admin.ttl(KEY) <= KEEP
        step.stop(consumer)
        admin.flushall()


def test_a_lost_beat_does_not_make_a_worker_dead() -> None:
    assert 2 * BEAT < LAPSE <= 180


def test_what_killed_workers_left_goes(
    clock: Clock, consumer: Consumer, admin: redis.Redis
) -> None:
    admin.zadd(KEY, {"old": clock.now - KEEP - 1, "new": clock.now - KEEP + 10})
    Heartbeat(consumer).start(consumer)
    assert [m.partition("/")[0] for m in admin.zrange(KEY, 0, -1)] == ["new", "w1@host"]
    assert 0 < admin.ttl(KEY) <= KEEP
    assert TIDY * BEAT < KEEP  # it is set anew in time


def test_who_stops_withdraws_and_no_other(
    app: Celery, clock: Clock, consumer: Consumer, admin: redis.Redis
) -> None:
    one, two = Heartbeat(consumer), Heartbeat(consumer)  # of one name
    one.start(consumer)
    two.start(consumer)
    assert hear(app, 5).workers == 2
    one.close(consumer)
    assert consumer.cancelled == 1
    assert hear(app, 5).workers == 1
    two.close(consumer)
    assert not admin.exists(KEY)
    two.close(consumer)


@pytest.mark.parametrize("connection", [None, SimpleNamespace(connected=False)])
def test_who_has_lost_the_broker_asks_it_nothing_as_he_stops(
    consumer: Consumer, connection: Any, admin: redis.Redis
) -> None:
    step = Heartbeat(consumer)
    step.start(consumer)
    kept, consumer.connection = consumer.connection, connection
    with counted(admin) as calls:
        consumer.tick() if connection is None else None
        step.close(consumer)
    consumer.connection = kept
    assert calls == {}


def test_a_timer_that_is_a_thread_leaves_it_to_the_consumer(
    app: Celery, clock: Clock, admin: redis.Redis
) -> None:
    consumer = Consumer(app, hub=None)
    Heartbeat(consumer).start(consumer)
    with counted(admin) as calls:
        consumer.tick()
    assert calls == {}
    (call,) = consumer.soon
    with counted(admin) as calls:
        call()
    assert calls == {"zadd": 1}
    consumer.connection.release()


def test_switched_off_it_says_nothing(
    consumer: Consumer, settings: Any, admin: redis.Redis
) -> None:
    settings.REDIS_OPTIMIZER = {"ENABLED": False}
    step = Heartbeat(consumer)
    step.start(consumer)
    step.close(consumer)
    assert not admin.exists(KEY)


def test_a_broker_that_is_not_redis_is_left_alone() -> None:
    app = Celery("p", broker="memory://", set_as_current=False)
    step = Heartbeat(consumer := Consumer(app))
    step.start(consumer)
    step.close(consumer)
    assert not consumer.cancelled


def test_who_may_not_say_so_warns_once(
    clock: Clock,
    server: EmbeddedServer,
    admin: redis.Redis,
    caplog: pytest.LogCaptureFixture,
) -> None:
    admin.acl_setuser("mute", True, ["+pw"], keys=["celery*"], commands=["+@all"])
    url = f"redis://mute:pw@{HOST}:{server.port}/0"
    consumer = Consumer(Celery("p", broker=url, set_as_current=False))
    Heartbeat(consumer).start(consumer)
    for _ in range(3):
        consumer.tick()
    warnings = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert len(warnings) == 1
    assert "alive could not be said" in warnings[0]
    consumer.connection.release()
    admin.acl_deluser("mute")


def test_a_worker_is_heard_of_until_it_stops(
    make_site: Callable[..., Site], app: Celery, admin: redis.Redis
) -> None:
    site = make_site(tasks=["tests.tasks.site.enveloped"])
    with site.worker("-c", "1") as worker:
        wait_until(lambda: hear(app, 5).workers == 1)
        assert admin.zrange(KEY, 0, -1)[0].startswith(f"{worker.name}/")
        assert worker.stop() == 0
    assert not admin.exists(KEY)


def test_a_killed_worker_is_missed(
    make_site: Callable[..., Site],
    app: Celery,
    admin: redis.Redis,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    site = make_site(tasks=["tests.tasks.site.enveloped"])
    with site.worker("-c", "1") as worker:
        wait_until(lambda: hear(app, 5).workers == 1)
        worker.kill()
        last = hear(app, 5).last
    clock = Clock()
    assert last is not None
    clock.now = last + LAPSE + 1
    monkeypatch.setattr(heartbeat, "time", clock)
    assert hear(app, 5) == Heard(0, last)


def test_a_server_that_has_lost_it_hears_it_again(tmp_path: Path) -> None:
    # Kombu keeps connections for the process: another test would find those of its server broken.
    with EmbeddedServer() as own, connect(own) as client:
        app = Celery("p", broker=f"redis://{HOST}:{own.port}/0", set_as_current=False)
        site = Site(tmp_path, own.port, tasks=["tests.tasks.site.enveloped"])
        with site.worker("-c", "1"):
            wait_until(lambda: hear(app, 5).workers == 1)
            client.delete(KEY)
            client.client_kill_filter(skipme=True)
            wait_until(lambda: hear(app, 5).workers == 1)
        app.close()
