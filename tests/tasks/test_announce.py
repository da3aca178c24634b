"""Workers say that they open envelopes, and producers ask."""

import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import redis
from celery import Celery

from redis_optimizer.embedded import HOST, EmbeddedServer
from redis_optimizer.tasks import announce, batching, bootstep
from redis_optimizer.tasks.announce import is_opened, others, withdraw
from redis_optimizer.tasks.bootstep import sweep
from redis_optimizer.tasks.divide import divide
from redis_optimizer.tasks.envelope import batch_queue, envelope_message
from redis_optimizer.tasks.explode import Exploded
from redis_optimizer.tasks.kinds import Kind
from redis_optimizer.tasks.message import Message
from tests.servers import wait_until
from tests.tasks.processes import Site
from tests.tasks.site import enveloped, runs
from tests.tasks.site.enveloped import make_job, send_envelope

KEY = "redis_optimizer:default:openers:celery.batches"


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


def members(admin: redis.Redis, key: str = KEY) -> list[str]:
    """Return the names of the workers that open envelopes."""
    return [member.rpartition("/")[0] for member in admin.zrange(key, 0, -1)]


def jobs(app: Celery, count: int = 3) -> list[Message]:
    return [make_job(app, enveloped.double, n) for n in range(count)]


def test_an_envelope_is_taken_while_a_worker_opens_it(
    app: Celery, clock: Clock, admin: redis.Redis
) -> None:
    announce.announce(app, "w1@host", ["celery"])
    made = jobs(app)
    made = [replace(job, priority=7) for job in made]
    assert announce.push(app, "celery", envelope_message(app, made))
    assert admin.llen("celery.batches\x06\x166") == 1


def test_after_the_last_one_has_gone_jobs_are_sent_plainly_at_once(
    app: Celery, clock: Clock, admin: redis.Redis
) -> None:
    announce.announce(app, "w1@host", ["celery"])
    assert is_opened(app, "celery")
    withdraw(app, "w1@host", ["celery"])
    made = jobs(app)
    batching._dispatch(Kind.of(app, made[0]), made)
    assert not admin.exists(batch_queue("celery"))
    assert admin.llen("celery") == len(made)
    assert not is_opened(app, "celery")


def test_a_server_without_scripts_gets_plain_jobs(
    server: EmbeddedServer, admin: redis.Redis
) -> None:
    admin.acl_setuser("simple", True, ["+pw"], keys=["*"], commands=["+@all", "-@scripting"])
    url = f"redis://simple:pw@{HOST}:{server.port}/0"
    app = Celery("p", broker=url, set_as_current=False)
    announce.announce(app, "w1@host", ["celery"])
    assert not announce.push(app, "celery", envelope_message(app, jobs(app)))
    app.close()
    admin.acl_deluser("simple")


def test_a_process_that_first_asks_divides_what_nobody_opens(
    app: Celery, clock: Clock, admin: redis.Redis
) -> None:
    send_envelope(app, *jobs(app))
    assert not is_opened(app, "celery")
    assert admin.llen("celery") == 3


def test_one_process_at_a_time_divides_and_no_longer_than_a_second(
    app: Celery, clock: Clock, admin: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = "redis_optimizer:default:dividing:celery"
    send_envelope(app, *jobs(app))
    monkeypatch.setattr("redis_optimizer.tasks.divide.BUSY", -1)  # its time is over at once
    divide(app, "celery")
    assert 0 < admin.pttl(key) <= 30_000
    monkeypatch.undo()
    divide(app, "celery")
    assert admin.llen(batch_queue("celery")) == 1
    admin.delete(key)
    divide(app, "celery")
    assert not admin.exists(batch_queue("celery"))
    assert 30_000 < admin.pttl(key) <= 300_000


def test_sites_with_key_prefixes_do_not_meet(app: Celery, clock: Clock, admin: redis.Redis) -> None:
    app.conf.broker_transport_options = {"global_keyprefix": "a:"}
    with app.connection_for_write() as connection:
        announce.announce(app, "w1@host", ["celery"], connection.default_channel)
    assert 0 < admin.ttl(f"a:{KEY}") <= 1800
    assert is_opened(app, "celery")
    withdraw(app, "w1@host", ["celery"])
    assert not admin.exists(f"a:{KEY}")


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
        assert [members(admin, key) for key in queues] == [[worker.name]] * 2
        assert worker.stop() == 0
    assert not admin.exists(*queues)


def test_of_two_workers_with_one_name_the_other_stays(
    make_site: Callable[..., Site], admin: redis.Redis
) -> None:
    site = make_site(tasks=["tests.tasks.site.enveloped"])
    with site.worker("-c", "1", "-n", "same@x") as one, site.worker("-c", "1", "-n", "same@x"):
        assert members(admin) == ["same@x"] * 2
        assert one.stop() == 0
        assert members(admin) == ["same@x"]


def test_a_worker_that_may_not_announce_goes_on(
    make_site: Callable[..., Site], server: EmbeddedServer, admin: redis.Redis, app: Celery
) -> None:
    keys = ["celery*", "_kombu*", "unacked*", "*pidbox*"]
    admin.acl_setuser("site", True, ["+pw"], keys=keys, channels=["*"], commands=["+@all"])
    site = make_site(tasks=["tests.tasks.site.enveloped"])
    url = f"redis://site:pw@{HOST}:{server.port}/0"
    with site.worker("-c", "1", CELERY_BROKER_URL=url) as worker:
        worker.wait_log("could not be announced")
        (identity,) = send_envelope(app, make_job(app, enveloped.double, 1))
        wait_until(lambda: runs.counts(site.runs) == {identity: 1})
        assert worker.stop() == 0
    admin.acl_deluser("site")


def test_the_sweep_has_one_time_for_all_queues(
    app: Celery, admin: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[float] = []

    def explode(app: Celery, queue: str, seconds: float) -> Exploded:
        given.append(seconds)
        now[0] += 1.5
        return Exploded()

    now = [100.0]
    monkeypatch.setattr(bootstep, "monotonic", lambda: now[0])
    monkeypatch.setattr(bootstep, "explode", explode)
    sweep(app, ["one", "two", "three"])
    assert given == [2.0, 0.5, -1.0]


@pytest.mark.parametrize("connection", [None, SimpleNamespace(connected=False)])
def test_who_has_lost_the_broker_asks_it_nothing_as_he_stops(
    connection: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    monkeypatch.setattr(bootstep, "withdraw", lambda *_: done.append("withdraw"))
    monkeypatch.setattr(bootstep, "sweep", lambda *_: done.append("sweep"))
    feed = SimpleNamespace(close=lambda: done.append("feed"))
    consumer = SimpleNamespace(
        app=None, hostname="w1@host", connection=connection, envelope_feed=feed
    )
    step = bootstep.Envelopes(consumer)
    step._announced = {"celery"}
    step.close(consumer)
    assert done == ["feed"]
    consumer.connection = SimpleNamespace(connected=True)
    step._announced = {"celery"}
    step.close(consumer)
    assert done == ["feed", "withdraw", "feed", "sweep"]


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
        assert worker.process.wait(60) == 0
    assert not admin.exists("unacked", batch_queue("celery"))
    assert admin.llen("celery") + len(runs.counts(site.runs)) == len(ids)


def test_a_worker_follows_what_remote_control_has_it_consume(
    make_site: Callable[..., Site], admin: redis.Redis, app: Celery
) -> None:
    site = make_site(tasks=["tests.tasks.site.enveloped"])
    with site.worker("-c", "1", "-Q", "other") as worker:
        # Until it answers: a worker that is ready need not have subscribed yet.
        wait_until(lambda: app.control.add_consumer("celery", reply=True, timeout=2))
        wait_until(lambda: members(admin) == [worker.name])
        send_envelope(app, make_job(app, enveloped.double, 1))
        wait_until(lambda: len(runs.counts(site.runs)) == 1)
        app.control.cancel_consumer("celery")
        wait_until(lambda: not admin.exists(KEY))
