"""Hearing the events of workers."""

from typing import Any

import pytest
from celery import Celery

from redis_optimizer.embedded import EmbeddedServer
from redis_optimizer.tasks import events
from redis_optimizer.tasks.asking import asking
from redis_optimizer.tasks.events import Ear, hearing, listeners
from tests.servers import wait_until

WAIT = 5.0


@pytest.fixture(
    params=[
        {},
        {"global_keyprefix": "si[t]e*:"},
        {"fanout_prefix": False},
        {"fanout_patterns": False},
    ],
    ids=str,
)
def app(server: EmbeddedServer, request: pytest.FixtureRequest) -> Celery:
    app = Celery("events", broker=server.url, set_as_current=False)
    app.conf.broker_transport_options = request.param
    return app


def read(ear: Ear, number: int) -> list[Any]:
    """Return so many messages: the server may deliver them after it has answered who sent them."""
    heard: list[Any] = []
    wait_until(lambda: heard.extend(ear.read()) or len(heard) >= number)
    return heard


def test_events_are_heard(app: Celery) -> None:
    with (
        asking(app, WAIT) as lists,
        hearing(lists, app.conf.event_exchange, WAIT) as ear,
        app.connection_for_write() as connection,
        app.events.Dispatcher(connection, hostname="w@h", buffer_group={"task"}) as dispatcher,
    ):
        dispatcher.send("worker-heartbeat", freq=2.0)
        dispatcher.send("task-started", uuid="1")
        dispatcher.send("task-succeeded", uuid="1")
        dispatcher.flush()
        (beat,), tasks = read(ear, 2)
        assert (beat["type"], beat["hostname"], beat["freq"]) == ("worker-heartbeat", "w@h", 2.0)
        assert [each["type"] for each in tasks] == ["task-started", "task-succeeded"]
        assert ear.read() == []


def test_who_listens_is_counted(app: Celery) -> None:
    exchange = app.conf.event_exchange
    with asking(app, WAIT) as lists, app.connection_for_read() as connection:
        assert listeners(lists, exchange) == (0, 0)
        for key in ("#", "worker.#", "task.#"):
            receiver = app.events.Receiver(connection, routing_key=key)
            connection.Consumer(receiver.queue).declare()
        assert listeners(lists, exchange) == (2, 1)


def test_no_more_is_read_than_there_is_time_for(
    server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "MAX_HEARD", 3)
    app = Celery("events", broker=server.url, set_as_current=False)
    with asking(app, WAIT) as lists, hearing(lists, "celeryev", WAIT) as ear:
        with lists.client.pipeline() as pipeline:
            for _ in range(8):
                pipeline.publish("/0.celeryev/task.multi", "x")
            pipeline.execute()
        read_at_once: list[int] = []
        wait_until(lambda: read_at_once.append(len(ear.read())) or sum(read_at_once) == 8)
        assert max(read_at_once) == 3
