"""Workers say that they open envelopes, and producers ask."""

import signal
import time
from collections.abc import Callable, Iterator

import pytest
import redis
from celery import Celery

from redis_optimizer.embedded import HOST, EmbeddedServer
from redis_optimizer.tasks import announce
from redis_optimizer.tasks.announce import is_opened, others, withdraw
from redis_optimizer.tasks.bootstep import sweep
from redis_optimizer.tasks.envelope import batch_queue
from tests.servers import wait_until
from tests.tasks.processes import Site
from tests.tasks.site import enveloped, runs
from tests.tasks.site.enveloped import make_job, send_envelope

KEY = "redis_optimizer:default:openers:celery"


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    time = staticmethod(time.time)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(announce, "time", clock)
    return clock


@pytest.fixture
def app(server: EmbeddedServer) -> Iterator[Celery]:
    app = Celery("p", broker=f"redis://{HOST}:{server.port}/0", set_as_current=False)
    yield app
    app.close()


def questions(admin: redis.Redis) -> int:
    """Return how often Redis was asked who opens envelopes."""
    stats = admin.info("commandstats").get("cmdstat_zcount", {"calls": 0})
    admin.config_resetstat()
    return int(stats["calls"])


def test_nobody_opens_envelopes_unless_he_says_so(app: Celery, clock: Clock) -> None:
    assert not is_opened(app, "celery")
    announce.announce(app, "w1@host", ["celery"])
    clock.now += 6
    assert is_opened(app, "celery")
    assert not is_opened(app, "other")


def test_producers_go_by_an_answer_for_a_while(
    app: Celery, clock: Clock, admin: redis.Redis
) -> None:
    questions(admin)
    assert not is_opened(app, "celery")
    clock.now += 4
    assert not is_opened(app, "celery")
    assert questions(admin) == 1
    announce.announce(app, "w1@host", ["celery"])
    clock.now += 2
    assert is_opened(app, "celery")
    clock.now += 29
    assert is_opened(app, "celery")
    assert questions(admin) == 1
    clock.now += 2
    assert is_opened(app, "celery")
    assert questions(admin) == 1


def test_an_announcement_lapses(app: Celery, clock: Clock, admin: redis.Redis) -> None:
    announce.announce(app, "w1@host", ["celery"])
    assert 890 < admin.zscore(KEY, "w1@host") - time.time() <= 900
    assert 0 < admin.ttl(KEY) <= 1800
    admin.zadd(KEY, {"w1@host": time.time() - 1})
    assert not is_opened(app, "celery")


def test_who_withdraws_is_not_counted(app: Celery, clock: Clock) -> None:
    announce.announce(app, "w1@host", ["celery"])
    announce.announce(app, "w2@host", ["celery"])
    assert others(app, "celery") == 2
    withdraw(app, "w1@host", ["celery"])
    assert others(app, "celery") == 1


def test_an_error_is_a_no(clock: Clock) -> None:
    app = Celery("p", broker="redis://127.0.0.1:1/0", set_as_current=False)
    assert not is_opened(app, "celery")
    assert not is_opened(Celery("p", broker="memory://", set_as_current=False), "celery")


def test_when_the_last_one_is_gone_its_producer_divides_what_he_sent(
    app: Celery, clock: Clock, admin: redis.Redis
) -> None:
    announce.announce(app, "w1@host", ["celery"])
    assert is_opened(app, "celery")
    send_envelope(app, *[make_job(app, enveloped.double, n) for n in range(3)])
    withdraw(app, "w1@host", ["celery"])
    clock.now += 31
    assert not is_opened(app, "celery")
    assert admin.llen("celery") == 3
    assert not admin.exists(batch_queue("celery"))


def test_a_worker_announces_what_it_consumes(
    make_site: Callable[..., Site], admin: redis.Redis
) -> None:
    site = make_site(tasks=["tests.tasks.site.enveloped"])
    with site.worker("-c", "1", "-Q", "celery,mail") as worker:
        queues = [KEY, KEY.replace("celery", "mail")]
        assert [admin.zrange(key, 0, -1) for key in queues] == [[worker.name]] * 2
        assert worker.stop() == 0
    assert not admin.exists(*queues)


def test_only_what_nobody_opens_is_divided(app: Celery, admin: redis.Redis) -> None:
    announce.announce(app, "w1@host", ["celery"])
    for queue in ("celery", "mail"):
        send_envelope(app, *[make_job(app, enveloped.double, n, queue=queue) for n in range(3)])
    sweep(app, ["celery", "mail"])
    assert admin.llen(batch_queue("celery")) == 1
    assert admin.llen("mail") == 3


def test_the_last_worker_to_stop_leaves_no_envelope_behind(
    make_site: Callable[..., Site], admin: redis.Redis, app: Celery
) -> None:
    site = make_site(tasks=["tests.tasks.site.enveloped"])
    with site.worker("-c", "1") as worker:
        # The server hands it to a worker that waits for jobs, and is told to stop meanwhile.
        worker.process.send_signal(signal.SIGSTOP)
        worker.process.send_signal(signal.SIGTERM)
        ids = send_envelope(app, *[make_job(app, enveloped.double, n) for n in range(50)])
        worker.process.send_signal(signal.SIGCONT)
        assert worker.process.wait(30) == 0
    assert not admin.exists("unacked", batch_queue("celery"))
    assert admin.llen("celery") + len(runs.counts(site.runs)) == len(ids)


def test_a_worker_follows_what_remote_control_has_it_consume(
    make_site: Callable[..., Site], admin: redis.Redis, app: Celery
) -> None:
    site = make_site(tasks=["tests.tasks.site.enveloped"])
    with site.worker("-c", "1", "-Q", "other") as worker:
        app.control.add_consumer("celery")
        wait_until(lambda: admin.zrange(KEY, 0, -1) == [worker.name], 30)
        send_envelope(app, make_job(app, enveloped.double, 1))
        wait_until(lambda: len(runs.counts(site.runs)) == 1, 30)
        app.control.cancel_consumer("celery")
        wait_until(lambda: not admin.exists(KEY), 30)
