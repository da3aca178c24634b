"""What `redis_optimizer.tasks.kombu` leans on in kombu, and does not find documented."""

import inspect
from typing import Any
from unittest import mock

import pytest
from celery import Celery
from kombu import Producer
from kombu.exceptions import OperationalError
from kombu.transport import redis as transport

from redis_optimizer.embedded import EmbeddedServer
from redis_optimizer.tasks.kombu.producers import DEFAULT_VISIBILITY_TIMEOUT, ensure


@pytest.fixture
def app(server: EmbeddedServer) -> Celery:
    return Celery("contract", broker=server.url, set_as_current=False)


def parameters(function: Any) -> list[str]:
    return list(inspect.signature(function).parameters)


def test_a_producer_publishes_through_one_method_that_gets_what_is_serialised() -> None:
    assert parameters(Producer._publish)[:12] == [
        "self",
        "body",
        "priority",
        "content_type",
        "content_encoding",
        "headers",
        "properties",
        "routing_key",
        "mandatory",
        "immediate",
        "exchange",
        "declare",
    ]


def test_a_producer_without_a_channel_takes_a_connection_from_its_attribute(app: Celery) -> None:
    producer = Producer(None, auto_declare=False)
    connection = app.connection_for_write()
    producer.__connection__ = connection
    assert producer.connection is connection
    assert not connection.connected


def test_celery_asks_a_producer_only_for_a_connection_that_translates_errors(app: Celery) -> None:
    with app.connection_for_write()._reraise_as_library_errors():
        pass


def test_a_producer_and_the_backend_of_rpc_ask_an_attribute_for_the_channel(app: Celery) -> None:
    assert isinstance(Producer.channel, property)
    app.conf.result_backend = "rpc://"
    asked: list[Any] = []

    class Asked(Producer):
        @property
        def channel(self) -> Any:
            asked.append(connection.default_channel)
            return asked[0]

    with app.connection_for_write() as connection:
        app.backend.on_task_call(Asked(None, auto_declare=False), "id")
    assert asked


def test_a_channel_hands_its_commands_to_a_batch() -> None:
    assert "_publish_batch" in inspect.getsource(transport.Channel._put)
    assert "_publish_batch" in inspect.getsource(transport.Channel._put_fanout)
    assert hasattr(transport.Channel, "create_publish_batch")


def test_a_channel_says_whether_it_may(app: Celery) -> None:
    with app.connection_for_write() as connection:
        assert connection.default_channel.supports_batch_publish
    app.conf.broker_transport_options = {"retry_on_timeout": True}
    with app.connection_for_write() as connection:
        assert not connection.default_channel.supports_batch_publish


def test_a_channel_lends_a_client(app: Celery) -> None:
    with (
        app.connection_for_write() as connection,
        connection.default_channel.conn_or_acquire() as client,
    ):
        assert client.ping()


def test_the_visibility_timeout_is_what_we_take_it_for() -> None:
    assert transport.Channel.visibility_timeout == DEFAULT_VISIBILITY_TIMEOUT


def test_how_often_bindings_are_swept_is_looked_up_each_time() -> None:
    source = inspect.getsource(transport.Channel.maybe_refresh_binding_expiry)
    assert ">= BINDING_SWEEP_INTERVAL:" in source


def test_a_channel_makes_its_connections_of_a_class_that_it_names(
    app: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = type("Made", (transport.Channel.connection_class,), {})
    monkeypatch.setattr(transport.Channel, "connection_class", made)
    assert hasattr(transport.Channel, "connection_class_ssl")
    assert {"connection_class", "connection_class_ssl"} <= vars(transport.SentinelChannel).keys()
    with app.connection_for_write() as connection:
        channel = connection.default_channel
        assert channel.pool.connection_class is made
        assert issubclass(channel.async_pool.connection_class, made)


def test_events_are_published_where_the_exchange_and_its_prefix_say(app: Celery) -> None:
    with app.connection_for_write() as connection:
        channel: Any = connection.default_channel
        channel.client.ping()  # the prefix holds the number of the database from then on
        assert channel.keyprefix_fanout == "/0."
        assert channel._get_publish_topic("celeryev", "a.b") == "/0.celeryev/a.b"
        assert channel.keyprefix_queue % "celeryev" == "_kombu.binding.celeryev"
        assert channel.unacked_index_key == "unacked_index"


def test_gossip_binds_its_queue_as_monitors_do_not() -> None:
    from celery.events import EventReceiver
    from celery.worker.consumer.gossip import Gossip

    from redis_optimizer.tasks.events import GOSSIP

    assert f"routing_key='{GOSSIP}'" in inspect.getsource(Gossip.get_consumers)
    assert inspect.signature(EventReceiver).parameters["routing_key"].default == "#"


def test_a_message_that_was_taken_is_noted_first_and_remembered_then(app: Celery) -> None:
    assert issubclass(transport.SentinelChannel, transport.Channel)
    assert "QoS" not in vars(transport.SentinelChannel)
    assert parameters(transport.QoS.append) == ["self", "message", "delivery_tag"]
    source = inspect.getsource(transport.QoS.append)
    assert source.index(".execute()") < source.index("super().append")
    # What is written in place of this must be the same: see tests/tasks/test_acks.py.
    for part in (
        "zadd(self.unacked_index_key",
        "hset(self.unacked_key",
        "dumps([message._raw, EX, RK])",
    ):
        assert part in source
    source = inspect.getsource(transport.QoS.ack)
    assert "self._remove_from_indices(delivery_tag).execute()" in source
    assert "super().ack(delivery_tag)" in source
    assert parameters(transport.QoS._remove_from_indices) == ["self", "delivery_tag", "pipe"]
    assert isinstance(transport.Channel.pool, property)
    assert parameters(transport.QoS.restore_by_tag) == ["self", "tag", "client", "leftmost"]
    assert parameters(transport.Channel._do_restore_message)[1:] == [
        "payload",
        "exchange",
        "routing_key",
        "pipe",
        "leftmost",
    ]
    assert parameters(transport.QoS.restore_unacked) == ["self", "client"]
    assert "restore_by_tag" in inspect.getsource(transport.QoS.restore_unacked)
    assert "self._delivered.clear()" in inspect.getsource(transport.QoS.restore_unacked)
    assert "self.connection.client" in inspect.getsource(transport.Channel._connparams)
    assert "restore_by_tag" in inspect.getsource(transport.QoS.reject)


def test_a_connection_is_made_as_often_as_celery_would_publish() -> None:
    """Without a word it would be tried at once, after 2 s and after 6."""
    app = Celery("nowhere", broker="redis://127.0.0.1:1/0", set_as_current=False)
    app.conf.task_publish_retry_policy = {
        **{"max_retries": 2, "interval_start": 0},
        **{"interval_step": 0.01, "interval_max": 1},
    }
    waits: list[float] = []
    with mock.patch("kombu.utils.functional.sleep", waits.append), pytest.raises(OperationalError):
        ensure(app, lambda producer: producer.channel)
    assert 0 < sum(waits) < 1
    app.close()
