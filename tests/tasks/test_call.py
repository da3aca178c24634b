"""The jobs of one call in a process of the pool, each with an outcome of its own."""

import os
import pickle
from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery
from celery.exceptions import Reject, SoftTimeLimitExceeded

from redis_optimizer.tasks import Job
from redis_optimizer.tasks.bulk import run_one
from redis_optimizer.tasks.call import NEVER_RAN, UNREADABLE
from tests.tasks.calls import do_nothing, job, make, own_app, run_jobs


@pytest.fixture
def app() -> Iterator[Celery]:
    with own_app() as app:
        yield app


@pytest.fixture
def run(app: Celery) -> Any:
    """Return what runs jobs of a function in one call."""

    def run(function: Any, count: int, **options: Any) -> list[Any]:
        task = make(app, function, ignore_result=False, **options)
        outcomes = run_jobs(*[job(app, number) for number in range(count)])
        assert task.name == "bulk.task"
        return [outcomes[place] for place in range(count)]

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
    outcomes = run_jobs(job(app, 0), job(app, 1), job(app, 2, ignore_result=True))
    assert [outcomes[place][0] for place in range(3)] == [0, 1, 0]
    ((good, bad),) = stored
    assert good[:4] == (f"{app.main}-0", 1, "SUCCESS", None)
    assert (bad[0], repr(bad[1]), bad[2]) == (f"{app.main}-1", "KeyError('bad')", "FAILURE")
    assert "KeyError" in bad[3]
    assert (good[4].id, good[4].ignore_result) == (f"{app.main}-0", False)
    assert [state for state, _ in states(app, 3)] == ["PENDING"] * 3


@pytest.fixture
def refuse(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return what has a method of the result backend raise, on both ways of storing."""

    def refuse(task: Any, name: str, error: Exception) -> None:
        monkeypatch.setattr(task.backend, "store_many", lambda results: {}, raising=False)

        def raises(*args: Any, **kwargs: Any) -> None:
            raise error

        monkeypatch.setattr(task.backend, name, raises)

    return refuse


def test_results_that_cannot_be_stored_fail_their_jobs_which_do_not_run_again(
    app: Celery, refuse: Any
) -> None:
    calls = []

    def function(jobs: list[Job]) -> None:
        calls.append(len(jobs))
        jobs[1].fail(KeyError("bad"))

    task = make(app, function, ignore_result=False, acks_late=True)
    refuse(task, "store_many", OSError("away"))
    outcomes = run_jobs(job(app, 0), job(app, 1), job(app, 2, ignore_result=True), events=False)
    assert calls == [3]
    assert set(outcomes) == {0, 1}
    kinds = [info.type for _, info, _ in pickle.loads(pickle.dumps(outcomes)).values()]
    assert kinds == [OSError, KeyError]


def test_one_result_that_cannot_be_stored_fails_its_job_alone(
    app: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = make(app, do_nothing, ignore_result=False)
    errors = {f"{app.main}-1": ValueError("too large")}
    monkeypatch.setattr(task.backend, "store_many", lambda results: errors, raising=False)
    outcomes = run_jobs(*[job(app, number) for number in range(3)])
    assert [outcomes[place][0] for place in range(3)] == [0, 1, 0]


@pytest.mark.parametrize("stores_many", [True, False])
def test_started_is_stored_of_each_before_the_call(
    app: Celery, monkeypatch: pytest.MonkeyPatch, stores_many: bool
) -> None:
    seen = []

    def function(jobs: list[Job]) -> None:
        seen.extend(states(app, 3))

    task = make(app, function, ignore_result=False, track_started=True)

    def store_many(results: Any) -> None:
        for identity, result, state, traceback, request in results:
            task.backend.store_result(identity, result, state, traceback, request)

    if stores_many:
        monkeypatch.setattr(task.backend, "store_many", store_many, raising=False)
    run_jobs(job(app, 0), job(app, 1), job(app, 2, ignore_result=True))
    about = {"pid": os.getpid(), "hostname": "w@host"}
    assert [state for state, _ in seen] == ["STARTED", "STARTED", "PENDING"]
    assert seen[1][1] == about  # of the first a worker's tracer tells the same, not the test's
    assert states(app, 3) == [("SUCCESS", None), ("SUCCESS", None), ("PENDING", None)]


def make_counting(app: Celery, **options: Any) -> tuple[Any, list[int]]:
    """Return a bulk task, and how many jobs each of its calls had."""
    calls: list[int] = []

    def function(jobs: list[Job]) -> None:
        calls.append(len(jobs))

    return make(app, function, **options), calls


def test_where_started_cannot_be_stored_jobs_run(
    app: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, calls = make_counting(app, ignore_result=False, track_started=True)
    stored = []

    def store_many(results: Any) -> None:
        if not calls:
            raise OSError("away")
        stored.extend(result[2] for result in results)

    monkeypatch.setattr(task.backend, "store_many", store_many, raising=False)
    outcomes = run_jobs(job(app, 0), job(app, 1))
    assert (calls, stored) == ([2], ["SUCCESS", "SUCCESS"])
    assert [outcomes[place][0] for place in range(2)] == [0, 0]


def test_a_time_limit_that_comes_before_the_function_ends_the_call(
    app: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, calls = make_counting(app, ignore_result=False, track_started=True)

    def store_many(results: Any) -> None:
        raise SoftTimeLimitExceeded

    monkeypatch.setattr(task.backend, "store_many", store_many, raising=False)
    outcomes = run_jobs(job(app, 0), job(app, 1))
    assert calls == []
    assert [outcomes[place][0] for place in range(2)] == [NEVER_RAN] * 2


def test_one_that_comes_as_results_are_stored_lets_nothing_run_again(
    app: Celery, refuse: Any
) -> None:
    task = make(app, do_nothing, ignore_result=False, acks_late=True)
    refuse(task, "store_many", SoftTimeLimitExceeded())
    outcomes = run_jobs(job(app, 0), job(app, 1))
    assert [outcomes[place][0] for place in range(2)] == [1, 1]


def test_what_before_start_keeps_from_running_does_not(
    app: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def function(jobs: list[Job]) -> None:
        calls.append([job.args[0] for job in jobs])

    def before_start(self: Any, identity: str, args: Any, kwargs: Any) -> None:
        if args == [0]:
            raise Reject("not this one", requeue=False)

    task = make(app, function, ignore_result=False)
    monkeypatch.setattr(type(task), "before_start", before_start)
    monkeypatch.setattr("redis_optimizer.tasks.call.MOMENT", 600)  # for jobs one by one
    outcomes = run_jobs(*[job(app, number) for number in range(3)])
    assert calls == [[1], [2]]
    assert [outcomes[place][0] for place in range(3)] == [1, 0, 0]


def ask_for(jobs: list[Job], task: Any) -> None:
    jobs[0].retry(countdown=60)


def raise_alone(jobs: list[Job], task: Any) -> None:
    if jobs[0].args == (0,):
        raise task.retry(countdown=60) if len(jobs) == 1 else RuntimeError


@pytest.mark.parametrize(("retry", "expected"), [(ask_for, [2]), (raise_alone, [2, 1, 1])])
def test_a_retry_that_cannot_be_stored_fails_its_job_alone(
    app: Celery, refuse: Any, retry: Any, expected: list[int]
) -> None:
    calls = []

    def function(jobs: list[Job]) -> None:
        calls.append(len(jobs))
        retry(jobs, task)

    task = make(app, function, ignore_result=False, acks_late=True)
    refuse(task, "mark_as_retry", OSError("away"))
    outcomes = run_jobs(job(app, 0), job(app, 1))
    assert (calls, [outcomes[place][0] for place in range(2)]) == (expected, [1, 0])
    assert outcomes[0][1].type is OSError


@pytest.mark.parametrize("acks_late", [True, False])
def test_what_fails_before_the_function_runs_is_told_of_each_job(
    app: Celery, monkeypatch: pytest.MonkeyPatch, acks_late: bool
) -> None:
    def raises(*args: Any) -> None:
        raise OSError("away")

    make(app, do_nothing, acks_late=acks_late)
    monkeypatch.setattr("redis_optimizer.tasks.call.begin_together", raises)
    outcomes = run_jobs(job(app, 0), job(app, 1), events=False)
    if acks_late:  # they come again, alone
        assert outcomes == {0: UNREADABLE, 1: UNREADABLE}
    else:
        assert [failed for failed, _, _ in outcomes.values()] == [NEVER_RAN, NEVER_RAN]


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
