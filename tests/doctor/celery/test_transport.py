"""What the doctor says of how jobs go through the broker."""

from dataclasses import replace
from typing import Any

import pytest

from redis_optimizer.connections import PROFILES
from redis_optimizer.doctor import Severity, examine
from redis_optimizer.doctor.celery import results, transport, workers
from redis_optimizer.doctor.celery.evidence import Broker, Taken
from redis_optimizer.stats.gathered import Gathered
from redis_optimizer.tasks import OptimizedTask
from tests.doctor.celery.sites import add_task, find, jobs, make_app, make_server, see, with_profile
from tests.doctor.sites import process


@pytest.mark.parametrize("profile", sorted(set(PROFILES) - {"default"}))
def test_the_settings_of_a_profile_are_right(profile: str) -> None:
    for module in (transport, results, workers):
        report = examine(see(with_profile(profile), make_server()), through=module.EXAMINATIONS)
        assert (report.findings, report.unknown) == ((), ())


@pytest.mark.parametrize("limit", [0, None])
def test_a_broker_without_a_pool_is_found(limit: Any) -> None:
    app = make_app(broker_pool_limit=limit)
    server = make_server({"lpush": 5.0, "hello": 8.0, "client|setinfo": 16.0})
    (finding,) = find(see(app, server), "broker-pool")
    # 4 of the 5 can have connected twice.
    assert finding.saves == 4 * 19 * 86_400
    assert finding.at_most
    assert repr(limit) in finding.what
    (finding,) = find(see(app, make_server({"lpush": 5.0, "client|setinfo": 4.0})), "broker-pool")
    assert finding.saves == 19 * 86_400
    (finding,) = find(see(app), "broker-pool")
    assert finding.saves is None


@pytest.mark.parametrize("name", ["retry_on_timeout", "retry_on_error", "retry"])
def test_what_may_send_a_job_twice_is_found(name: str) -> None:
    app = make_app(broker_transport_options={name: True})
    (finding,) = find(see(app), "broker-retries")
    assert name in finding.what
    app = make_app(broker_transport_options={name: None})
    assert find(see(app), "broker-retries") == []


def test_jobs_that_travel_alone_are_found() -> None:
    evidence = see(make_app(), make_server(jobs(4.0)))
    (finding,) = find(evidence, "single-jobs")
    assert finding.saves == pytest.approx(4 * 3.96 * 86_400)
    assert finding.at_most
    assert find(see(make_app(), make_server(jobs(0.9))), "single-jobs") == []


def test_jobs_that_travel_together_do_not_travel_alone() -> None:
    before, after = (Gathered([process(jobs={"envelopes": each})]) for each in (5, 40))
    evidence = see(make_app(), make_server(jobs(4.0)))
    evidence = replace(evidence, stats_before=before, stats=after)
    assert find(evidence, "single-jobs") == []


def due(wait: float) -> Any:
    return see(make_app(), broker=Broker(due=(Taken(task="t.mail", wait=wait),)))


def test_a_job_that_is_due_after_the_visibility_timeout_is_found() -> None:
    (finding,) = find(due(7_000), "visibility-timeout")
    assert finding.severity is Severity.ERROR
    assert "is 3,600 s" in finding.what
    assert "t.mail is due 7,000 s" in finding.what
    assert '"visibility_timeout": 7200' in finding.change
    assert find(due(3_600), "visibility-timeout") == []


def schedule(countdown: float) -> Any:
    entry = {"task": "t", "schedule": 60, "options": {"countdown": countdown}}
    return make_app(beat_schedule={"nightly": entry, "plain": {"task": "t", "schedule": 60}})


def test_a_countdown_in_the_schedule_is_found() -> None:
    (finding,) = find(see(schedule(4_000)), "visibility-timeout")
    assert "'nightly'" in finding.what
    assert find(see(schedule(300)), "visibility-timeout") == []


def test_a_retry_is_found() -> None:
    app = make_app(broker_transport_options={"visibility_timeout": 100})
    add_task(app, "default")
    assert find(see(app), "visibility-timeout") == []  # Celery's own delay says nothing
    add_task(app, "late", default_retry_delay=300)
    (finding,) = find(see(app), "visibility-timeout")
    assert "late is retried after 300 s" in finding.what


def test_a_batch_is_found() -> None:
    app = make_app()
    options: dict[str, Any] = {"base": OptimizedTask, "acks_late": True}
    add_task(app, "short", batch_size=100, time_limit=10, **options)
    add_task(app, "single", batch_size=1, time_limit=3_000, **options)
    add_task(app, "endless", batch_size=100, **options)
    assert find(see(app), "visibility-timeout") == []
    add_task(app, "long", batch_size=100, time_limit=30, **options)
    (finding,) = find(see(app), "visibility-timeout")
    assert "a batch of long may take 100 x 30 s" in finding.what
    assert '"visibility_timeout": 7200' in finding.change


def test_a_broker_that_is_not_redis_is_left_alone() -> None:
    app = make_app(
        "amqp://h", broker_pool_limit=0, broker_transport_options={"retry_on_timeout": True}
    )
    for evidence in (see(app), see(None)):
        report = examine(evidence, through=transport.EXAMINATIONS)
        assert (report.findings, report.unknown) == ((), ())
