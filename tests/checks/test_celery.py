"""The checks of Celery's settings."""

import sys
from typing import Any

import pytest
from celery import Celery
from celery.app import app_or_default
from django.test import override_settings
from kombu import Queue

from redis_optimizer.checks.celery import check_app, check_celery
from redis_optimizer.connections import PROFILES, celery_settings

URL = "redis://h:1/0"
RESULTS = "redis_optimizer.tasks.results:DatabaseBackend"


def found(settings: dict[str, Any]) -> list[str]:
    """Return the id of each message, and assert that it has a hint."""
    app = Celery("site", set_as_current=False)
    app.conf.update(settings)
    messages = check_app(app)
    assert all(message.hint for message in messages)
    return [str(message.id).removeprefix("redis_optimizer.") for message in messages]


def broker(**options: Any) -> dict[str, Any]:
    return {"broker_url": URL, "broker_transport_options": options}


@pytest.mark.parametrize("profile", PROFILES)
def test_our_settings_are_right(profile: str) -> None:
    settings = celery_settings(URL, profile)
    assert found({n.removeprefix("CELERY_").lower(): v for n, v in settings.items()}) == []


def test_the_current_app_is_checked() -> None:
    before = app_or_default()
    app = Celery("checked", broker=URL)
    try:
        assert check_celery() == []
        app.conf.broker_transport_options = {"polling_interval": 30}
        assert [message.id for message in check_celery()] == ["redis_optimizer.W022"]
    finally:
        before.set_current()


def test_a_broker_that_is_not_redis_is_left_alone() -> None:
    assert found({**broker(retry_on_timeout=True), "broker_url": "amqp://h"}) == []


def test_e020_without_what_kombus_transport_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "kombu.transport.redis", raising=False)
    monkeypatch.setitem(sys.modules, "redis", None)
    monkeypatch.setitem(sys.modules, "packaging.version", None)
    assert found(broker()) == ["E020"]


@pytest.mark.parametrize("backend", ["django-db", RESULTS])
def test_e021_results_without_their_table(backend: str) -> None:
    with override_settings(INSTALLED_APPS=["redis_optimizer"]):
        assert found({"result_backend": backend}) == ["E021"]
    with override_settings(INSTALLED_APPS=["django_celery_results"]):
        assert found({"result_backend": backend}) == []


@pytest.mark.parametrize("name", ["retry", "retry_on_error", "retry_on_timeout"])
def test_w020_what_may_send_a_job_twice(name: str) -> None:
    assert found(broker(**{name: True})) == ["W020"]
    assert found(broker(**{name: False})) == []


@pytest.mark.parametrize("steps", [[9, 6, 3, 0], [1, 5]])
def test_w021_priorities_that_do_not_rise_from_0(steps: list[int]) -> None:
    assert found(broker(priority_steps=steps)) == ["W021"]
    assert found(broker(priority_steps=[0, 5])) == []


@pytest.mark.parametrize("interval", [0, 30])
def test_w022_a_long_wait_of_every_process(interval: float) -> None:
    assert found(broker(polling_interval=interval)) == ["W022"]
    assert found(broker(polling_interval=2)) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("task_default_queue", "{}"),
        ("task_queues", [Queue("mail"), Queue("{}")]),
        ("task_queues", {"{}": {"exchange": "other"}}),
        ("task_routes", {"mail.*": "{}", "web": {"queue": "mail"}}),
        ("task_routes", {"mail.*": {"queue": Queue("{}")}}),
        ("task_routes", [print, "site.route", [("web", "web"), ("mail.*", {"queue": "{}"})]]),
    ],
)
def test_w023_a_queue_that_is_where_envelopes_travel(name: str, value: Any) -> None:
    assert found({**broker(), name: named(value, "mail.batches")}) == ["W023"]
    assert found({**broker(), name: named(value, "mail-batches")}) == []
    assert found({name: named(value, "mail.batches"), "broker_url": "amqp://h"}) == []


def named(value: Any, queue: str) -> Any:
    """Return a value with the name of a queue put in."""
    if isinstance(value, Queue):
        return Queue(named(value.name, queue))
    if isinstance(value, dict):
        return {named(key, queue): named(inner, queue) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(named(inner, queue) for inner in value)
    return queue if value == "{}" else value
