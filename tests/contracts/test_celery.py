"""What the package leans on in Celery and kombu beyond what they document.

``redis_optimizer/tasks/celery_internals.py`` and the names of a consumer's options.
"""

import functools
import inspect
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any

import celery
import pytest
from celery import Celery, Task
from celery.app import trace
from celery.utils.dispatch import Signal
from celery.worker import request
from celery.worker.consumer.gossip import Gossip
from celery.worker.consumer.heart import Heart
from celery.worker.consumer.mingle import Mingle
from kombu import Connection, Queue

from redis_optimizer.embedded import EmbeddedServer
from redis_optimizer.tasks.celery_internals import (
    channel_client,
    current_greenlet,
    filter_queues,
    has_own_tracer,
    is_waiting,
    override,
    receivers_of,
    set_wait,
    wait_of,
    waiting_connection,
)
from tests.servers import connect, wait_until
from tests.tasks.conftest import make_site
from tests.tasks.processes import Site

__all__ = ["make_site"]
from tests.missing import go_without


@pytest.fixture
def connection(server: EmbeddedServer) -> Iterator[Connection]:
    with Connection(server.url) as made:
        yield made


@pytest.mark.parametrize(
    ("step", "option"),
    [
        (Gossip, "without_gossip"),
        (Mingle, "without_mingle"),
        (Heart, "without_heartbeat"),
        (Heart, "heartbeat_interval"),
    ],
)
def test_steps_of_a_consumer_take_the_options_of_the_command_line(step: Any, option: str) -> None:
    assert option in inspect.signature(step.__init__).parameters


def test_a_channel_waits_for_as_long_as_it_is_told(
    connection: Connection, server: EmbeddedServer
) -> None:
    channel: Any = connection.default_channel
    assert wait_of(channel) == 1
    set_wait(channel, 0.05)
    with connect(server).monitor() as monitor, connection.Consumer(Queue("nobody")):
        with pytest.raises(TimeoutError):
            connection.drain_events(timeout=0.2)
        sent = next(e["command"] for e in monitor.listen() if e["command"].startswith("BRPOP"))
    assert sent.endswith(" 0.05")


def test_a_channel_waits_in_the_queues_that_are_chosen(
    connection: Connection, server: EmbeddedServer
) -> None:
    def choose(queues: list[str]) -> list[str]:
        asked.append(sorted(queues))
        return ["one"]

    asked: list[list[str]] = []
    channel: Any = connection.default_channel
    filter_queues(channel, choose)
    set_wait(channel, 0.05)
    queues = [Queue("one"), Queue("other")]
    with connect(server).monitor() as monitor, connection.Consumer(queues):
        with pytest.raises(TimeoutError):
            connection.drain_events(timeout=0.2)
        sent = next(e["command"] for e in monitor.listen() if e["command"].startswith("BRPOP"))
    assert "one" in sent
    assert "other" not in sent
    assert asked[0] == ["one", "other"]


@pytest.mark.parametrize("order", ["round_robin", "priority", "sorted"])
def test_the_queues_of_a_channel_are_chosen_whatever_their_order(
    server: EmbeddedServer, order: str
) -> None:
    options = {"queue_order_strategy": order}
    with Connection(server.url, transport_options=options) as connection:
        filter_queues(connection.default_channel, lambda queues: ["one"])


def test_rows_of_results_are_added_to(make_site: Callable[..., Site]) -> None:
    code = """
from celery.app.task import Context
from django_celery_results.backends import DatabaseBackend
from redis_optimizer.tasks.celery_internals import extend_rows
backend = DatabaseBackend(app)
extend_rows(backend, lambda row, request: row.update(task_name=row["task_name"] or request.task))
backend.TaskModel._default_manager.store_result = lambda **row: print(row["task_name"])
backend.store_result("id", 1, "SUCCESS", request=Context({"id": "id", "task": "mine"}))
"""
    assert make_site().produce(code).stdout.split() == ["mine"]


def test_a_channel_waits_on_the_connection_that_is_there(
    connection: Connection, server: EmbeddedServer
) -> None:
    channel: Any = connection.default_channel
    prepared = waiting_connection(channel)
    prepared.send_command("CLIENT", "ID")
    number = prepared.read_response()
    assert not is_waiting(channel)
    with connection.Consumer(Queue("nobody")):
        with pytest.raises(TimeoutError):
            connection.drain_events(timeout=0.1)
        assert is_waiting(channel)
        clients = connect(server).client_list()
        assert [c["cmd"] for c in clients if c["id"] == str(number)] == ["brpop"]
        wait_until(lambda: prepared.can_read(timeout=0))


def test_a_channel_lends_the_connection_that_it_acknowledges_on(
    connection: Connection, server: EmbeddedServer
) -> None:
    channel: Any = connection.default_channel
    admin = connect(server)
    with channel_client(channel) as client:
        assert client.ping()
    before = len(admin.client_list())
    with channel_client(channel) as client:
        assert client.ping()
    assert len(admin.client_list()) == before


def test_the_pieces_that_calls_with_several_jobs_are_made_of() -> None:
    made = inspect.signature(request.create_request_cls).parameters
    assert list(made)[:5] == ["base", "task", "pool", "hostname", "eventer"]
    assert "app" in made
    app = Celery("contract", set_as_current=False)
    task = app.task(inverse, name="contract.task", shared=False, ignore_result=True)
    for argument, failed in ((1, False), (0, True)):
        result, info, runtime, text = trace.trace_task(
            task, "id", [argument], {}, {"id": "id", "delivery_info": {}}, app=app
        )
        assert bool(info) is failed
        if failed:
            assert info.state == "FAILURE"
            assert isinstance(info.retval, ZeroDivisionError)
            assert "ZeroDivisionError" in result.traceback
        else:
            assert (result, text) == (1.0, "1.0")
            assert runtime >= 0


def inverse(number: int) -> float:
    return 1 / number


def test_a_tracer_that_something_wraps_is_told_from_celerys() -> None:
    app = Celery("contract", set_as_current=False)
    app.task(inverse, name="contract.task", shared=False)
    task: Any = app.tasks["contract.task"]
    assert has_own_tracer(task)  # there is none yet
    trace.trace_task(task, "id", [1], {}, {"id": "id", "delivery_info": {}}, app=app)
    assert not has_own_tracer(task)
    original = task.__trace__
    task.__trace__ = functools.wraps(original)(lambda *args: original(*args))
    assert has_own_tracer(task)


def test_what_listens_to_a_signal_is_known() -> None:
    signal = Signal(name="contract", providing_args=set())
    bound = Listener()
    signal.connect(listen)
    signal.connect(bound.listen)
    signal.connect(inverse_of, weak=False, sender=bound)
    assert list(receivers_of(signal)) == [listen, bound.listen, inverse_of]


class Listener:
    def listen(self, **kwargs: Any) -> None:
        """Be told."""


def listen(**kwargs: Any) -> None:
    """Be told."""


def inverse_of(sender: Any, **kwargs: Any) -> None:
    """Be told by one sender."""


@pytest.mark.parametrize("namespace", [None, "CELERY"])
def test_a_setting_is_overridden_whatever_its_namespace(namespace: str | None) -> None:
    app = Celery("site", set_as_current=False)
    prefix = f"{namespace}_" if namespace else ""
    settings = {f"{prefix}worker_consumer".upper() if prefix else "worker_consumer": "given"}
    app.config_from_object(settings, namespace=namespace)
    assert app.conf.worker_consumer == "given"  # it is read late
    override(app.conf, "worker_consumer", "ours")
    assert app.conf.worker_consumer == "ours"
    assert app.either("worker_consumer") == "ours"


@pytest.mark.skipif(celery.VERSION < (5, 7), reason="Celery 5.6 dumps no models")
def test_a_task_dumps_models_unless_they_are_pickled() -> None:
    assert "_dump_pydantic_arguments" in vars(Task)
    source = " ".join(inspect.getsource(Task.apply_async).split())
    assert "options = dict(preopts, **options)" in source
    assert (
        "if self._dump_pydantic_arguments is not None and options.get('serializer') != 'pickle': "
        "args, kwargs = self._dump_pydantic_arguments(args, kwargs)"
    ) in source
    assert ("serializer", "task_serializer") in Task.from_config
    assert Task()._get_exec_options().keys() >= {"serializer"}


def test_a_channel_begins_a_wait_by_a_method_and_reads_its_answer_by_a_reference() -> None:
    from kombu.transport import redis as transport

    assert "channel._brpop_start()" in inspect.getsource(transport.MultiChannelPoller)
    assert "'BRPOP': self._brpop_read" in inspect.getsource(transport.Channel.__init__)
    assert "self._brpop_read()" in inspect.getsource(transport.Channel.close)


def test_what_the_timer_of_greenlets_runs_can_be_killed() -> None:
    if find_spec("gevent") is None:
        go_without("gevent is not installed: it comes with the extra [test]")
    from celery.concurrency.gevent import Timer

    found: list[Any] = []
    timer = Timer()
    entry: Any = timer.call_after(0, lambda: found.append(current_greenlet()))
    entry.join(60)
    assert found == [entry]
    entry.kill()
