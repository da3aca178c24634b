"""Which jobs of a call Celery's tracer runs for, and what is told of the others."""

import logging
from collections.abc import Iterator
from dataclasses import replace
from functools import wraps
from typing import Any

import pytest
from celery import Celery, signals
from celery.app.trace import build_tracer, trace_task

from redis_optimizer.tasks import Job, call
from redis_optimizer.tasks.call import NOT_BEGUN, UNREADABLE
from redis_optimizer.tasks.pace import MOMENT
from tests.tasks.calls import do_nothing, job, make, own_app, run_jobs


@pytest.fixture
def app() -> Iterator[Celery]:
    with own_app() as app:
        yield app


@pytest.fixture
def unheard(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nobody listen to what Celery tells of jobs."""
    for signal in (signals.task_prerun, signals.task_postrun, signals.task_success):
        monkeypatch.setattr(signal, "receivers", [])


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the ids of the jobs that Celery's tracer is called for."""
    ids: list[str] = []

    def note(task: Any, identity: str, *args: Any, **kwargs: Any) -> Any:
        ids.append(identity)
        return trace_task(task, identity, *args, **kwargs)

    monkeypatch.setattr("redis_optimizer.tasks.call.trace_task", note)
    return ids


@pytest.mark.usefixtures("unheard")
def test_where_nobody_asks_about_jobs_that_succeeded_there_is_one_line_for_all(
    app: Celery, caplog: pytest.LogCaptureFixture
) -> None:
    def function(jobs: list[Job]) -> None:
        jobs[2].fail(KeyError("bad"))

    make(app, function, ignore_result=True)
    with caplog.at_level(logging.INFO):
        outcomes = run_jobs(*[job(app, number) for number in range(5)], events=False)
    assert list(outcomes) == [2]
    (line,) = [text for text in caplog.messages if "more jobs succeeded in one call" in text]
    assert line.endswith(": " + ", ".join(f"{app.main}-{number}" for number in (1, 3, 4)))
    assert any(f"[{app.main}-2] raised" in text for text in caplog.messages)


@pytest.mark.usefixtures("unheard")
def test_results_are_the_same_where_nobody_listens(
    app: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    def function(jobs: list[Job]) -> list[int]:
        return [job.args[0] * 2 for job in jobs]

    task = make(app, function, ignore_result=False)
    stored: list[Any] = []
    monkeypatch.setattr(
        task.backend, "store_many", lambda results: stored.extend(results) or {}, raising=False
    )
    assert run_jobs(*[job(app, number) for number in range(3)], events=False) == {}
    assert [(id, result, state) for id, result, state, _, _ in stored] == [
        (f"{app.main}-{number}", number * 2, "SUCCESS") for number in range(3)
    ]
    about = [(each.id, each.args, each.kwargs, each.delivery_info) for *_, each in stored]
    delivery = {"exchange": "", "routing_key": "celery", "priority": 3, "redelivered": False}
    assert about == [
        (f"{app.main}-{number}", [number], {"k": number}, delivery) for number in range(3)
    ]


LINK = {"task": "bulk.other", "args": [], "kwargs": {}, "options": {}, "immutable": True}


@pytest.mark.usefixtures("unheard")
def test_only_the_first_is_traced_and_those_with_a_lock_or_a_sequel(
    app: Celery, traced: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    app.task(name="bulk.other", shared=False)(do_nothing)
    monkeypatch.setattr(type(app.tasks["bulk.other"]), "apply_async", lambda *args, **kwargs: None)
    make(app, do_nothing, ignore_result=True)
    with_lock = job(app, 2, redis_optimizer_dedup="key")
    with_link = job(app, 3, embed={"callbacks": [LINK]})
    assert run_jobs(job(app, 0), job(app, 1), with_lock, with_link, events=False) == {}
    assert traced == [f"{app.main}-{number}" for number in (0, 2, 3)]


def wrap_tracer(task: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    trace = build_tracer(task.name, task, app=task.app)
    monkeypatch.setattr(task, "__trace__", wraps(trace)(lambda *args: trace(*args)))


def listen(task: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signals.task_success, "receivers", [((1, 2), lambda **kwargs: None)])


def wrap_run(task: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    run = task.run
    monkeypatch.setattr(task, "run", lambda *args, **kwargs: run(*args, **kwargs))


def have_a_handler(task: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(task), "on_success", lambda *args: None)


@pytest.mark.usefixtures("unheard")
@pytest.mark.parametrize("concern", [wrap_tracer, listen, wrap_run, have_a_handler])
def test_all_are_traced_where_something_is_told_of_each(
    app: Celery, traced: list[str], concern: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = make(app, do_nothing, ignore_result=True)
    concern(task, monkeypatch)
    run_jobs(*[job(app, number) for number in range(3)], events=False)
    assert traced == [f"{app.main}-{number}" for number in range(3)]


def test_what_cannot_be_read_is_told_of_and_the_others_run(app: Celery) -> None:
    seen = []

    def function(jobs: list[Job]) -> None:
        seen.extend(job.args[0] for job in jobs)

    make(app, function, ignore_result=True)
    bad = replace(job(app, 1), body="{no json")
    outcomes = run_jobs(job(app, 0), bad, job(app, 2), events=False)
    assert outcomes == {1: UNREADABLE}
    assert seen == [0, 2]


def test_ordinary_jobs_run_one_after_the_other_for_a_moment(
    app: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = []
    at = 0.0
    monkeypatch.setattr(call, "monotonic", lambda: at)

    def function(number: int, k: int) -> None:
        nonlocal at
        runs.append(number)
        if number == 2:
            at += 2 * MOMENT

    app.task(name="bulk.task", shared=False, ignore_result=True)(function)
    outcomes = run_jobs(*[job(app, number) for number in range(5)], events=False)
    assert outcomes == {3: NOT_BEGUN, 4: NOT_BEGUN}
    assert runs == [0, 1, 2]
