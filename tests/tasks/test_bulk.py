"""Jobs that run in one call of a function, each with an outcome of its own."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from celery import Celery
from celery.app import app_or_default
from celery.exceptions import TaskRevokedError, TimeLimitExceeded, WorkerLostError
from kombu.utils.uuid import uuid

from redis_optimizer.embedded import EmbeddedServer
from redis_optimizer.tasks import BatchTask, Job
from redis_optimizer.tasks.bulk import run_bulk, run_one
from redis_optimizer.tasks.kombu import send
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

    def test_a_job_that_comes_alone_runs_the_same_function(self, ground: Ground) -> None:
        job = make_job(ground.app, enveloped.sum_up, 7)
        send(ground.app, [job])
        assert ground.get(job.id) == 70
        assert ground.notes(job.id) == ["with 1"]


@pytest.fixture
def app() -> Iterator[Celery]:
    # Its backend is shared by all apps of the process: ids are of one test each.
    previous, name = app_or_default(), uuid()
    app = Celery(name, broker="memory://", backend="cache+memory://", set_as_current=False)
    app.set_current()
    yield app
    previous.set_current()


def make(app: Celery, function: Any, **options: Any) -> Any:
    return app.task(base=BatchTask, bulk=True, name="bulk.task", shared=False, **options)(function)


def request(app: Celery, number: int) -> dict[str, Any]:
    arguments = {"args": [number], "kwargs": {"k": number}}
    return {"id": f"{app.main}-{number}", "task": "bulk.task", "is_eager": False} | arguments


@pytest.fixture
def run(app: Celery) -> Any:
    """Return what runs jobs of a function in one call."""

    def run(function: Any, count: int, **options: Any) -> list[Any]:
        task = make(app, function, ignore_result=False, **options)
        return run_bulk(task.name, [request(app, number) for number in range(count)])

    return run


def states(app: Celery, count: int) -> list[tuple[str, Any]]:
    results = [app.AsyncResult(f"{app.main}-{number}") for number in range(count)]
    return [(result.state, result.result) for result in results]


def test_jobs_have_their_arguments_and_requests(app: Celery, run: Any) -> None:
    seen = []

    def function(jobs: list[Job]) -> None:
        seen.extend((job.id, job.args, job.kwargs, job.request.id) for job in jobs)

    run(function, 2)
    assert seen == [(f"{app.main}-{n}", (n,), {"k": n}, f"{app.main}-{n}") for n in range(2)]


def test_nothing_said_is_success(app: Celery, run: Any) -> None:
    def function(jobs: list[Job]) -> str:
        return "not a list of results"

    outcomes = run(function, 2)
    assert [failed for failed, _, _ in outcomes] == [0, 0]
    assert states(app, 2) == [("SUCCESS", None)] * 2


def test_a_list_of_another_length_is_not_results(app: Celery, run: Any) -> None:
    def function(jobs: list[Job]) -> list[int]:
        return [1]

    run(function, 2)
    assert states(app, 2) == [("SUCCESS", None)] * 2


def test_what_was_said_of_a_job_holds_against_the_list(app: Celery, run: Any) -> None:
    def function(jobs: list[Job]) -> list[int]:
        jobs[0].done("own")
        return [1, 2]

    run(function, 2)
    assert states(app, 2) == [("SUCCESS", "own"), ("SUCCESS", 2)]


def test_jobs_with_an_outcome_do_not_run_again_when_it_raises(app: Celery, run: Any) -> None:
    calls = []

    def function(jobs: list[Job]) -> None:
        calls.append([job.args[0] for job in jobs])
        jobs[0].done(1)
        if len(jobs) > 1:
            raise RuntimeError

    run(function, 3)
    assert calls == [[0, 1, 2], [1], [2]]
    assert states(app, 3) == [("SUCCESS", 1)] * 3


def test_one_job_that_raises_is_not_run_twice(app: Celery, run: Any) -> None:
    calls = []

    def function(jobs: list[Job]) -> None:
        calls.append(len(jobs))
        raise RuntimeError("bad")

    ((failed, info, _),) = run(function, 1)
    assert (failed, calls) == (1, [1])
    assert isinstance(info.exception, RuntimeError)


def test_results_are_stored_together_where_the_backend_can(
    app: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    def function(jobs: list[Job]) -> list[int]:
        jobs[1].fail(KeyError("bad"))
        return [1, 2, 3]

    task = make(app, function, ignore_result=False)
    stored: list[Any] = []
    monkeypatch.setattr(task.backend, "store_many", stored.append, raising=False)
    ignored = {"ignore_result": True}
    outcomes = run_bulk(task.name, [request(app, 0), request(app, 1), request(app, 2) | ignored])
    assert [failed for failed, _, _ in outcomes] == [0, 1, 0]
    ((good, bad),) = stored
    assert good[:4] == (f"{app.main}-0", 1, "SUCCESS", None)
    assert (bad[0], repr(bad[1]), bad[2]) == (f"{app.main}-1", "KeyError('bad')", "FAILURE")
    assert "KeyError" in bad[3]
    assert (good[4].id, good[4].ignore_result) == (f"{app.main}-0", False)
    assert [state for state, _ in states(app, 3)] == ["PENDING"] * 3


def test_a_direct_call_returns_and_raises(app: Celery) -> None:
    def function(jobs: list[Job]) -> None:
        (job,) = jobs
        if job.args == (0,):
            job.fail(ValueError("none"))
        elif job.args == (1,):
            job.retry(exc=KeyError("again"))
        else:
            job.done(job.args[0] * 2)

    task = make(app, function)
    assert task(4) == 8
    assert run_one(task, (5,), {}) == 10
    with pytest.raises(ValueError, match="none"):
        task(0)
    with pytest.raises(KeyError, match="again"):  # as Task.retry does for a direct call
        task(1)


def test_an_eager_job_is_retried(app: Celery) -> None:
    attempts = []

    def function(jobs: list[Job]) -> None:
        attempts.append(jobs[0].request.retries)
        if len(attempts) < 3:
            jobs[0].retry(countdown=0)
        else:
            jobs[0].done("done")

    task = make(app, function)
    assert task.apply([1]).get() == "done"
    assert attempts == [0, 1, 2]


def test_a_retry_says_so(app: Celery, run: Any) -> None:
    def function(jobs: list[Job]) -> None:
        jobs[0].retry(countdown=60)

    ((failed, _, _),) = run(function, 1)
    assert failed
    assert states(app, 1)[0][0] == "RETRY"
