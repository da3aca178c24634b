"""Jobs that run in one call of a function, each with an outcome of its own."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path

import pytest
from celery.exceptions import TaskRevokedError, TimeLimitExceeded, WorkerLostError

from redis_optimizer.embedded import EmbeddedServer
from redis_optimizer.tasks.kombu.sending import send
from tests.missing import go_without
from tests.tasks.ground import Ground
from tests.tasks.processes import Worker
from tests.tasks.site import enveloped
from tests.tasks.site.enveloped import make_job, send_envelope


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    with EmbeddedServer() as server:
        ground = Ground(tmp_path_factory.mktemp("site"), server)
        yield ground
        ground.close()


@pytest.fixture(scope="module")
def shared(ground: Ground) -> Iterator[Worker]:
    """Run the worker that these tests share."""
    with ground.site.worker("-c", "2") as worker:
        yield worker


@pytest.mark.usefixtures("shared")
class TestInAWorker:
    def test_a_function_gets_all_jobs_of_an_envelope(self, ground: Ground) -> None:
        ids = ground.send(enveloped.sum_up, *range(100))
        assert [ground.get(identity) for identity in ids] == list(range(0, 1000, 10))
        assert all(ground.notes(identity) == ["with 100"] for identity in ids)
        ground.wait_done()

    def test_jobs_fail_and_are_retried_one_by_one(self, ground: Ground) -> None:
        ids = ground.send(enveloped.sum_up, 1, -1, -2, 3)
        good, bad, again, last = ids
        assert [ground.get(good), ground.get(last)] == [10, 30]
        with pytest.raises(KeyError):
            ground.get(bad)
        assert ground.get(again) == -20
        assert ground.notes(again) == ["with 4", "with 1"]
        ground.wait_done()

    def test_when_it_raises_its_jobs_run_one_by_one(self, ground: Ground) -> None:
        one, bad, two = ground.send(enveloped.sum_up, 1, -3, 2)
        assert [ground.get(one), ground.get(two)] == [10, 20]
        with pytest.raises(RuntimeError, match="the whole call"):
            ground.get(bad)
        assert ground.notes(one) == ["with 3", "with 1"]
        assert ground.notes(two) == ["with 1"]
        ground.wait_done()

    def test_one_that_kills_the_child_fails_alone(self, ground: Ground) -> None:
        ids = ground.send(enveloped.sum_up, 1, 2, -4, 3)
        assert [ground.get(identity) for identity in (*ids[:2], ids[3])] == [10, 20, 30]
        with pytest.raises(WorkerLostError):
            ground.get(ids[2])
        ground.wait_done()
        assert ground.notes(ids[2]) == ["with 4", "with 1"]

    def test_one_that_takes_too_long_fails_alone(self, ground: Ground) -> None:
        jobs = [make_job(ground.app, enveloped.sum_up, n, time_limit=1) for n in (1, -5, 2)]
        one, long, two = send_envelope(ground.app, *jobs)
        assert [ground.get(one), ground.get(two)] == [10, 20]
        with pytest.raises(TimeLimitExceeded):
            ground.get(long)
        ground.wait_done()
        assert ground.notes(long) == ["with 3", "with 1"]

    def test_one_with_a_soft_limit_fails_alone(self, ground: Ground) -> None:
        jobs = [make_job(ground.app, enveloped.sum_up, n, soft_time_limit=1) for n in (1, -5, 2)]
        one, long, two = send_envelope(ground.app, *jobs)
        assert [ground.get(one), ground.get(two)] == [10, 20]
        with pytest.raises(Exception, match="SoftTimeLimitExceeded"):
            ground.get(long)
        ground.wait_done()

    def test_those_that_are_expired_or_revoked_are_left_out(
        self, ground: Ground, shared: Worker
    ) -> None:
        past = datetime.now(UTC) - timedelta(minutes=1)
        expired = make_job(ground.app, enveloped.sum_up, 1, expires=past)
        revoked = make_job(ground.app, enveloped.sum_up, 2)
        good = make_job(ground.app, enveloped.sum_up, 3)
        ground.app.control.revoke(revoked.id)
        shared.wait_log(f"Tasks flagged as revoked: {revoked.id}")
        send_envelope(ground.app, expired, revoked, good)
        assert ground.get(good.id) == 30
        for identity in (expired.id, revoked.id):
            with pytest.raises(TaskRevokedError):
                ground.get(identity)
        assert ground.notes(good.id) == ["with 1"]
        ground.wait_done()

    def test_one_that_cannot_be_read_is_dropped_alone(self, ground: Ground, shared: Worker) -> None:
        one, bad, two = (make_job(ground.app, enveloped.sum_up, n) for n in range(3))
        object.__setattr__(bad, "body", "{no json")
        send_envelope(ground.app, one, bad, two)
        assert [ground.get(one.id), ground.get(two.id)] == [0, 20]
        ground.wait_done()
        assert "Can't decode message body" in shared.log
        assert ground.notes(one.id) == ["with 2"]

    def test_tasks_do_not_share_a_call(self, ground: Ground) -> None:
        jobs = [make_job(ground.app, enveloped.sum_up, n) for n in range(3)]
        jobs += [make_job(ground.app, enveloped.double, n) for n in range(3)]
        jobs += [make_job(ground.app, enveloped.tell_signals, n) for n in range(2)]
        ids = send_envelope(ground.app, *jobs)
        assert [ground.get(i) for i in ids] == [0, 10, 20, 0, 2, 4, None, None]
        ground.wait_done()

    def test_signals_come_for_each_job(self, ground: Ground) -> None:
        ids = ground.send(enveloped.tell_signals, 1, 2, -1)
        ground.wait_notes(ids[0], "prerun", "run", "success", "postrun SUCCESS")
        ground.wait_notes(ids[1], "run", "prerun", "success", "postrun SUCCESS")
        ground.wait_notes(ids[2], "run", "prerun", "failure", "postrun FAILURE")
        ground.wait_done()

    def test_what_before_start_keeps_from_running_does_not(self, ground: Ground) -> None:
        one, bad, ignored, two = ground.send(enveloped.guarded, 1, -1, -2, 3)
        assert [ground.get(one), ground.get(two)] == [10, 30]
        with pytest.raises(KeyError):
            ground.get(bad)
        ground.wait_done()
        assert ground.notes(one) == ground.notes(two) == ["before", "with 1"]
        assert ground.notes(bad) == ground.notes(ignored) == ["before"]

    def test_a_request_class_of_the_task_is_told_of_each_job(self, ground: Ground) -> None:
        ids = ground.send(enveloped.told, 1, 2, 3)
        assert [ground.get(identity) for identity in ids] == [10, 20, 30]
        ground.wait_done()
        assert [ground.notes(identity) for identity in ids] == [["accepted"]] * 3

    def test_a_job_that_comes_alone_runs_the_same_function(self, ground: Ground) -> None:
        job = make_job(ground.app, enveloped.sum_up, 7)
        send(ground.app, [job])
        assert ground.get(job.id) == 70
        assert ground.notes(job.id) == ["with 1"]


def test_one_that_takes_too_long_fails_alone_among_greenlets(tmp_path: Path) -> None:
    if find_spec("gevent") is None:
        go_without("gevent is not installed: it comes with the extra [test]")
    with EmbeddedServer() as server:
        ground = Ground(tmp_path, server)
        jobs = [make_job(ground.app, enveloped.sum_up, n, time_limit=1) for n in (1, -5, 2)]
        with ground.site.worker("-P", "gevent", "-c", "2") as worker:
            one, long, two = send_envelope(ground.app, *jobs)
            with pytest.raises(TimeLimitExceeded):
                ground.get(long)
            assert [ground.get(one), ground.get(two)] == [10, 20]
            ground.wait_done()
            assert ground.notes(long) == ["with 3", "with 1"]
            assert ground.app.control.inspect([worker.name]).active() == {worker.name: []}
        ground.close()


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
def test_where_results_cannot_be_stored_no_job_runs_twice_and_none_is_kept(
    pool: str, tmp_path: Path
) -> None:
    with EmbeddedServer() as server:
        # Its tables are missing.
        backend = "redis_optimizer.tasks.results:DatabaseBackend"
        ground = Ground(tmp_path, server, CELERY_RESULT_BACKEND=backend)
        with ground.site.worker("-P", pool, "-c", "2") as worker:
            ids = ground.send(enveloped.sum_up, 1, -1, 2)
            for identity in ids:
                worker.wait_log(f"Result of job {identity} could not be stored")
            ground.wait_done()
            assert [ground.notes(identity) for identity in ids] == [["with 3"]] * 3
        ground.close()
