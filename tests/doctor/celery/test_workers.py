"""What the doctor says of workers that do not do what the site asks of them."""

from typing import Any

import pytest
from django.test import override_settings

from redis_optimizer.doctor.celery.evidence import Broker
from redis_optimizer.tasks import OptimizedTask
from tests.doctor.celery.sites import add_task, find, jobs, make_app, make_server, see, waits


@pytest.fixture
def app() -> Any:
    app = make_app()
    add_task(app, "t.single", base=OptimizedTask, batch_size=1)
    return app


@pytest.fixture
def batched(app: Any) -> Any:
    add_task(app, "t.mail", base=OptimizedTask, batch_size=100, acks_late=True)
    return app


def look(app: Any, equipped: int | None, *idle: int) -> Any:
    server = make_server(jobs(2.0), clients=waits(*idle))
    return find(see(app, server, Broker(equipped=equipped)), "closed-envelopes")


def test_workers_that_open_no_envelopes_are_found(batched: Any) -> None:
    (finding,) = look(batched, 0, 0, 0)
    assert "2 of 2 workers at h:1 do not open envelopes; t.mail may send them" in finding.what
    assert finding.saves == pytest.approx(2 * 9.96 * 86_400)
    assert finding.at_most


def test_what_is_saved_is_unknown_when_some_open_them(batched: Any) -> None:
    (finding,) = look(batched, 2, 0, 0, 0)
    assert "1 of 3 workers" in finding.what
    assert finding.saves is None


def test_workers_that_open_them_are_not_found(batched: Any) -> None:
    assert look(batched, 2, 0, 0) == []
    assert look(batched, 3, 0, 0) == []  # one is busy
    assert look(batched, 0) == []
    assert look(batched, None, 0) == []


def test_nobody_needs_to_open_what_is_not_sent(app: Any, batched: Any) -> None:
    with override_settings(REDIS_OPTIMIZER={"ENABLED": False}):
        assert look(batched, 0, 0) == []


def test_tasks_that_are_not_batched_need_no_openers(app: Any) -> None:
    assert look(app, 0, 0, 0) == []
