"""What a worker's consumer leaves out."""

from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery
from celery.worker.consumer import Consumer
from django.test import override_settings
from kombu.transport import redis as transport

from redis_optimizer.tasks.consumers import QuietConsumer, SilentConsumer

CHATTER = {"Gossip", "Mingle", "Heart", "Events"}


def steps(consumer_class: type[Consumer], **options: Any) -> dict[str, Any]:
    """Return the steps of a consumer that are not left out, by name."""
    app = Celery("site", broker="redis://h", set_as_current=False)
    app.conf.worker_enable_remote_control = False
    consumer: Any = consumer_class(
        lambda *args: None,
        app=app,
        controller=SimpleNamespace(use_eventloop=False),
        worker_options={"task_events": False, **options},
    )
    return {type(step).__qualname__.rpartition(".")[2]: step for step in consumer.steps}


def test_celerys_own_has_them_all() -> None:
    assert set(steps(Consumer)) >= CHATTER


def test_a_quiet_one_sends_heartbeats_alone() -> None:
    found = steps(QuietConsumer)
    assert set(found) & CHATTER == {"Heart", "Events"}
    assert found["Heart"].heartbeat_interval == 20


def test_a_silent_one_sends_nothing() -> None:
    assert not set(steps(SilentConsumer)) & CHATTER


def test_the_command_line_is_kept() -> None:
    assert steps(QuietConsumer, heartbeat_interval=7)["Heart"].heartbeat_interval == 7
    assert "Heart" not in steps(QuietConsumer, without_heartbeat=True)


def test_events_of_tasks_are_sent_when_they_are_asked_for() -> None:
    assert "Events" in steps(SilentConsumer, task_events=True)


def test_it_brings_its_own_step() -> None:
    assert "Unblock" in steps(SilentConsumer)


@pytest.mark.parametrize("consumer_class", [QuietConsumer, SilentConsumer])
def test_switched_off_it_is_celerys(consumer_class: type[Consumer]) -> None:
    with override_settings(REDIS_OPTIMIZER={"ENABLED": False}):
        assert set(steps(consumer_class)) >= CHATTER


@pytest.mark.parametrize(("is_on", "seconds"), [(True, 300), (False, 60)])
def test_a_silent_one_seldom_looks_for_bindings_that_are_gone(
    monkeypatch: pytest.MonkeyPatch, is_on: bool, seconds: float
) -> None:
    monkeypatch.setattr(transport, "BINDING_SWEEP_INTERVAL", 60)
    with override_settings(REDIS_OPTIMIZER={"ENABLED": is_on}):
        steps(SilentConsumer)
    assert seconds == transport.BINDING_SWEEP_INTERVAL
