"""Envelopes opened by real workers: each job is Celery's, as if it had come alone."""

import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path

import pytest
from celery.exceptions import NotRegistered, TaskRevokedError, TimeLimitExceeded

from redis_optimizer.embedded import EmbeddedServer
from redis_optimizer.tasks import strategy
from redis_optimizer.tasks.envelope import NAME, batch_queue, envelope_message, pack
from redis_optimizer.tasks.kombu.sending import send
from redis_optimizer.tasks.message import Message
from tests.missing import go_without
from tests.servers import wait_until
from tests.tasks.ground import WAIT, Ground
from tests.tasks.processes import STOP, Worker
from tests.tasks.site import enveloped, runs
from tests.tasks.site.enveloped import make_job, send_envelope

NO_GEVENT = "gevent is not installed: it comes with the extra [test]"


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    with EmbeddedServer() as server:
        ground = Ground(tmp_path_factory.mktemp("site"), server)
        yield ground
        ground.close()


@pytest.fixture(scope="module")
def shared(ground: Ground) -> Iterator[Worker]:
    """Run the worker that most of the tests share."""
    with ground.site.worker("-c", "2") as worker:
        yield worker


@pytest.mark.usefixtures("shared")
class TestJobs:
    def test_each_has_its_result(self, ground: Ground) -> None:
        ids = ground.send(enveloped.double, *range(50))
        assert [ground.get(identity) for identity in ids] == list(range(0, 100, 2))
        ground.wait_done()
        assert all(ground.notes(identity) == [str(n)] for n, identity in enumerate(ids))

    def test_one_that_fails_leaves_the_others_alone(self, ground: Ground) -> None:
        jobs = [
            make_job(ground.app, task, 1)
            for task in (enveloped.double, enveloped.fail, enveloped.double)
        ]
        first, bad, last = send_envelope(ground.app, *jobs)
        assert [ground.get(first), ground.get(last)] == [2, 2]
        with pytest.raises(ValueError, match="1"):
            ground.get(bad)
        ground.wait_done()

    def test_one_is_retried_alone(self, ground: Ground) -> None:
        one, other = ground.send(enveloped.retry_twice, 5, 6)
        assert [ground.get(one), ground.get(other)] == [5, 6]
        assert ground.notes(one) == ["attempt 0", "attempt 1", "attempt 2"]
        ground.wait_done()

    def test_a_hard_time_limit_kills_one(self, ground: Ground) -> None:
        jobs = [make_job(ground.app, task, 1) for task in (enveloped.overrun, enveloped.double)]
        bad, good = send_envelope(ground.app, *jobs)
        assert ground.get(good) == 2
        with pytest.raises(TimeLimitExceeded):
            ground.get(bad)
        ground.wait_done()
        assert ground.notes(bad) == ["overrun"]

    def test_one_that_loses_its_child_runs_again_alone(self, ground: Ground) -> None:
        flag = ground.site.directory / "killed"
        jobs = [make_job(ground.app, enveloped.double, n) for n in range(10)]
        jobs.insert(5, make_job(ground.app, enveloped.kill_once, str(flag)))
        ids = send_envelope(ground.app, *jobs)
        ground.wait_notes(ids[5], "kill", "kill")
        ground.wait_done()
        assert all(len(ground.notes(identity)) == 1 for identity in ids if identity != ids[5])

    def test_one_of_an_unknown_task_is_discarded_alone(self, ground: Ground) -> None:
        jobs = [make_job(ground.app, task, 1) for task in ("no.such.task", enveloped.double)]
        unknown, good = send_envelope(ground.app, *jobs)
        assert ground.get(good) == 2
        with pytest.raises(NotRegistered):
            ground.get(unknown)
        ground.wait_done()

    def test_one_that_is_expired_is_revoked(self, ground: Ground) -> None:
        past = datetime.now(UTC) - timedelta(minutes=1)
        bad = make_job(ground.app, enveloped.double, 1, expires=past)
        good = make_job(ground.app, enveloped.double, 2)
        send_envelope(ground.app, bad, good)
        assert ground.get(good.id) == 4
        with pytest.raises(TaskRevokedError):
            ground.get(bad.id)
        ground.wait_done()
        assert ground.notes(bad.id) == []

    def test_those_with_a_rate_limit_do_not_hold_up_the_others(self, ground: Ground) -> None:
        jobs = [make_job(ground.app, enveloped.limited, n) for n in range(8)]
        jobs += [make_job(ground.app, enveloped.double, n) for n in range(10)]
        ids = send_envelope(ground.app, *jobs)
        assert [ground.get(identity) for identity in ids[8:]] == list(range(0, 20, 2))
        assert not ground.notes(ids[7])
        ground.wait_notes(ids[7], "limited 7")
        ground.wait_done()

    def test_what_cannot_be_decoded_is_dropped_alone(self, ground: Ground, shared: Worker) -> None:
        good = make_job(ground.app, enveloped.double, 4)
        bad = make_job(ground.app, enveloped.double, 3)
        object.__setattr__(bad, "body", "{no json")
        send_envelope(ground.app, bad, good)
        assert ground.get(good.id) == 8
        ground.wait_done()
        assert "Can't decode message body" in shared.log

    def test_one_may_be_revoked_while_it_waits(self, ground: Ground, shared: Worker) -> None:
        naps = ground.send(enveloped.nap, *[1.0] * 6)
        ground.wait_notes(naps[0], "begun")
        ground.app.control.revoke([naps[3], naps[5]])  # one is with Celery, one is not yet
        ground.wait_done()
        assert [ground.notes(identity) for identity in naps[:3]] == [["begun", "done"]] * 3
        assert ground.notes(naps[3]) == ground.notes(naps[5]) == []
        assert f"Discarding revoked task: {enveloped.nap.name}[{naps[5]}]" in shared.log

    def test_higher_priorities_go_first(self, ground: Ground, tmp_path: Path) -> None:
        # One process is held throughout, so that the other one runs all others, one by one.
        end, begin = tmp_path / "end", tmp_path / "begin"
        held = ground.send(enveloped.held, str(end), *[str(begin)] * 3)
        for identity in held[:2]:
            ground.wait_notes(identity, "begun")
        low = ground.send(enveloped.double, *range(4), priority=9)
        high = ground.send(enveloped.double, *range(4), priority=0)
        ground.wait_received()
        begin.touch()
        wait_until(lambda: all(map(ground.notes, low + high)), WAIT)
        end.touch()
        ground.wait_done()
        order = [job for job, _, _ in runs.rows(ground.site.runs)]
        assert max(map(order.index, high)) < min(map(order.index, low))


@pytest.mark.usefixtures("shared")
def test_a_malformed_envelope_is_rejected_and_told_of(ground: Ground, shared: Worker) -> None:
    broken = envelope_message(ground.app, [make_job(ground.app, enveloped.double, 1)])
    object.__setattr__(broken, "body", broken.body.replace("version", "vision"))
    send(ground.app, [broken])
    shared.wait_log(f"envelope {broken.id} cannot be read")
    shared.wait_log("vision")
    ground.wait_done()
    (good,) = ground.send(enveloped.double, 1)
    assert ground.get(good) == 2


@pytest.mark.usefixtures("shared")
def test_an_envelope_that_came_again_is_divided(ground: Ground, shared: Worker) -> None:
    jobs = [make_job(ground.app, enveloped.double, n) for n in range(10)]
    envelope = envelope_message(ground.app, jobs)
    envelope.headers["redelivered"] = True
    record = f"redis_optimizer:default:progress:{envelope.id}"
    ground.redis.set(record, bytes([0b111, 0]))
    send(ground.app, [envelope])
    assert [ground.get(job.id) for job in jobs[3:]] == list(range(6, 20, 2))
    ground.wait_done()
    assert not any(ground.notes(job.id) for job in jobs[:3])
    wait_until(lambda: not ground.redis.exists(record), WAIT)
    assert f"Envelope {envelope.id} came again: 3 of its 10 jobs were done" in shared.log


@pytest.mark.usefixtures("shared")
def test_progress_is_recorded_only_of_slow_envelopes(ground: Ground) -> None:
    # Records of earlier tests go a second after their envelopes.
    wait_until(lambda: not ground.redis.keys("redis_optimizer:default:progress:*"), WAIT)
    ground.redis.config_resetstat()
    ground.send(enveloped.double, *range(10))
    ground.wait_done()
    assert "cmdstat_set" not in ground.redis.info("commandstats")
    ids = ground.send(enveloped.nap, 0.1, 0.1, 0.1, 3)
    found = wait_until(lambda: ground.redis.keys("redis_optimizer:default:progress:*"), WAIT)
    assert ground.redis.get(found[0]) == "\x07"
    assert 86_400 < ground.redis.ttl(found[0]) <= 90_000
    ground.wait_notes(ids[3], "begun", "done")
    wait_until(lambda: not ground.redis.exists(*found), WAIT)


@pytest.mark.usefixtures("shared")
@pytest.mark.parametrize("is_same_message", [True, False])
def test_an_envelope_that_came_twice_is_opened_once(ground: Ground, is_same_message: bool) -> None:
    jobs = [make_job(ground.app, enveloped.nap, 0.3) for _ in range(6)]
    envelope = replace(envelope_message(ground.app, jobs), routing_key="nobody")
    send(ground.app, [envelope] * 2)
    one, other = ground.redis.lpop("nobody", 2)
    ground.redis.lpush(batch_queue("celery"), one, one if is_same_message else other)
    for job in jobs:
        ground.wait_notes(job.id, "begun", "done")
    ground.wait_done()
    assert all(ground.notes(job.id) == ["begun", "done"] for job in jobs)


@pytest.mark.usefixtures("shared")
def test_a_worker_with_enough_to_do_leaves_envelopes_but_takes_messages(ground: Ground) -> None:
    first = ground.send(enveloped.nap, *[0.2] * 90)
    ground.wait_notes(first[0], "begun")
    # When that one has run, the worker has asked for messages since it had enough to do.
    before = make_job(ground.app, enveloped.double, 4)
    send(ground.app, [before])
    assert ground.get(before.id) == 8
    ground.send(enveloped.nap, *[0.2] * 6)
    single = make_job(ground.app, enveloped.double, 8)
    send(ground.app, [single])
    assert ground.get(single.id) == 16
    assert ground.redis.llen(batch_queue("celery")) == 1
    ground.wait_done()


def test_an_envelope_that_cannot_be_divided_yet_is_divided_later(tmp_path: Path) -> None:
    with EmbeddedServer() as server:
        ground = Ground(tmp_path, server, CELERY_WORKER_PREFETCH_MULTIPLIER=1)
        with ground.site.worker("-c", "1") as worker:
            ground.redis.execute_command("ACL", "SETUSER", "default", "-getrange")
            jobs = [make_job(ground.app, enveloped.double, n) for n in range(3)]
            send(ground.app, [envelope_message(ground.app, jobs).again()])
            worker.wait_log("could not be divided")
            ground.redis.execute_command("ACL", "SETUSER", "default", "+getrange")
            (other,) = ground.send(enveloped.double, 4)
            assert [ground.get(job.id) for job in jobs] == [0, 2, 4]
            assert ground.get(other) == 8
            ground.wait_done()
        ground.close()


@pytest.mark.parametrize("pool", ["threads", "solo", "gevent"])
def test_other_pools_open_them_too(tmp_path: Path, pool: str) -> None:
    if pool == "gevent" and find_spec("gevent") is None:
        go_without(NO_GEVENT)
    with EmbeddedServer() as server:
        ground = Ground(tmp_path, server)
        with ground.site.worker("-P", pool, "-c", "2") as worker:
            ids = ground.send(enveloped.double, *range(50))
            more = ground.send(enveloped.sum_up, *range(50))
            assert [ground.get(identity) for identity in ids] == list(range(0, 100, 2))
            assert [ground.get(identity) for identity in more] == list(range(0, 500, 10))
            ground.wait_done()
            naps = ground.send(enveloped.nap, *[0.5] * 10)
            ground.wait_notes(naps[0], "begun")
            assert worker.stop() == 0
        ran = [ground.notes(identity) for identity in naps]
        assert ran.count(["begun", "done"]) < 10
        assert ran.count([]) == ground.redis.llen("celery") == 10 - ran.count(["begun", "done"])
        assert not ground.redis.exists("unacked")
        ground.close()


def test_among_greenlets_none_waits_for_its_own_place(tmp_path: Path) -> None:
    if find_spec("gevent") is None:
        go_without(NO_GEVENT)
    with EmbeddedServer() as server:
        ground = Ground(tmp_path, server)
        ran = [["begun", "done"], []] * 6
        with ground.site.worker("-P", "gevent", "-c", "1") as worker:
            # After a long one the worker's loop has its turn. In that a short one ends, and has the
            # next one started.
            calls = [(enveloped.nap, 0.1), (enveloped.early, 0)] * 3
            jobs = [
                make_job(ground.app, *call, time_limit=limit)
                for limit in (None, 30)
                for call in calls
            ]
            ids = send_envelope(ground.app, *jobs)
            wait_until(lambda: [ground.notes(identity) for identity in ids] == ran, WAIT)
            ground.wait_done()

            def is_known() -> bool:  # as quick: several share a place
                ground.send(enveloped.quick, *range(20))
                ground.wait_done()
                return f"{enveloped.quick.name}: " in worker.log

            wait_until(is_known, WAIT)
            ids = ground.send(enveloped.quick, *range(5), *[-4] * 3, *range(20), -4, 7)
            assert [ground.get(identity) for identity in ids[8:28]] == list(range(20))
            assert ground.get(ids[-1]) == 7
            ground.wait_done()
            assert worker.stop() == 0
        ground.close()


def test_a_worker_that_is_told_to_stop_hands_back_what_it_has_not_begun(tmp_path: Path) -> None:
    with EmbeddedServer() as server:
        ground = Ground(tmp_path, server)
        with ground.site.worker("-c", "2") as worker:
            ids = ground.send(enveloped.nap, *[1.0] * 100)
            ground.wait_notes(ids[0], "begun")
            worker.process.send_signal(signal.SIGTERM)
            # Two for each process are with Celery, and a few were done before.
            wait_until(lambda: ground.redis.llen("celery") >= 90)
            # The pool's processes may wait half a minute for one another as they end.
            assert worker.process.wait(2 * STOP) == 0
        assert not ground.redis.exists("unacked")
        assert not ground.redis.keys("redis_optimizer:*")
        ended = [identity for identity in ids if ground.notes(identity)]
        assert all(ground.notes(identity) == ["begun", "done"] for identity in ended)
        waiting = [identity for identity in ids if identity not in ended]
        queued = ground.redis.lrange("celery", 0, -1)
        # A pool that is slow to end may not say what its processes did last: that runs again.
        assert len(waiting) <= len(queued) <= len(waiting) + 2
        assert all(any(identity in message for message in queued) for identity in waiting)
        assert not ground.redis.llen(batch_queue("celery"))
        ground.close()


def test_after_its_connection_was_lost_a_worker_goes_on(tmp_path: Path) -> None:
    with EmbeddedServer() as server:
        ground = Ground(tmp_path, server)
        with ground.site.worker("-c", "2") as worker:
            ids = ground.send(enveloped.nap, *[0.2] * 20)
            ground.wait_notes(ids[0], "begun", "done")
            ground.redis.client_kill_filter(_type="normal", skipme=True)
            worker.wait_log("Connection to broker lost")
            wait_until(lambda: all("done" in ground.notes(i) for i in ids), WAIT)
            ground.wait_done()
            (again,) = ground.send(enveloped.double, 4)
            assert ground.get(again) == 8
            assert worker.stop() == 0
        # Two ran when it happened, and more may have ended since the record was written.
        assert sum(len(ground.notes(identity)) > 2 for identity in ids) <= 4
        ground.close()


@pytest.mark.slow
def test_a_killed_worker_loses_nothing(tmp_path: Path) -> None:
    options = {
        "visibility_timeout": 3,
        "unacked_restore_interval": 1,
        "unacked_restore_throttle": 1,
        "unacked_mutex_expire": 2,  # of a worker that is killed while it holds that
    }
    # This one must not hand back what waits long: it would take that again, one by one, and what is
    # on its way from Redis to a worker that is killed is lost.
    patient = options | {"visibility_timeout": 60}
    with EmbeddedServer() as server:
        ground = Ground(tmp_path, server, CELERY_BROKER_TRANSPORT_OPTIONS=options)
        with ground.site.worker("-c", "2", CELERY_BROKER_TRANSPORT_OPTIONS=patient) as worker:
            ids = ground.send(enveloped.nap, *[0.2] * 30)
            wait_until(lambda: ground.redis.keys("redis_optimizer:default:progress:*"), WAIT)
            done = [identity for identity in ids if "done" in ground.notes(identity)]
            os.killpg(worker.process.pid, signal.SIGKILL)
        with ground.site.worker("-c", "2"):
            wait_until(lambda: all("done" in ground.notes(i) for i in ids), WAIT)
            ground.wait_done()
        # The record is a second old at most: five jobs for each of two processes.
        assert sum(len(ground.notes(identity)) > 2 for identity in done) <= 12
        assert ground.redis.keys("redis_optimizer:default:progress:*") == []
        ground.close()


def test_a_worker_that_is_switched_off_opens_what_is_queued(tmp_path: Path) -> None:
    with EmbeddedServer() as server:
        ground = Ground(tmp_path, server, REDIS_OPTIMIZER={"ENABLED": False})
        with ground.site.worker("-c", "1"):
            (identity,) = ground.send(enveloped.double, 3)
            assert ground.get(identity) == 6
            assert not ground.redis.keys("redis_optimizer:*:openers:*")
        ground.close()


def test_whoever_runs_it_as_a_plain_task_divides_it(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[Message] = []
    monkeypatch.setattr(strategy, "send", lambda app, messages: sent.extend(messages))
    jobs = [make_job(ground.app, enveloped.double, n) for n in range(3)]
    ground.app.tasks[NAME].apply([pack(jobs)])
    assert sent == jobs
