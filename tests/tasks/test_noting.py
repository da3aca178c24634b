"""What was taken from a queue is kept, though the broker refuses to note it."""

import atexit
import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from celery import Celery
from kombu import Connection, Consumer, Queue
from kombu.transport import redis as transport

from redis_optimizer.embedded import EmbeddedServer
from redis_optimizer.tasks import noting
from redis_optimizer.tasks.acks import Acks
from redis_optimizer.tasks.noting import Noting, keep_what_is_taken
from tests.servers import connect, wait_until
from tests.tasks.processes import Site
from tests.tasks.site import runs

QUEUE = Queue("taken", routing_key="taken")


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have it as every process has it that loads Celery before Django."""
    monkeypatch.setattr(transport.Channel, "QoS", transport.Channel.QoS)
    keep_what_is_taken()
    yield
    atexit.unregister(noting._tell_lost)
    noting._left.clear()


@pytest.fixture
def full(admin: redis.Redis) -> Iterator[Any]:
    """Return what leaves the server no memory, or as much as it likes."""
    yield lambda so: admin.config_set("maxmemory", 1 if so else 0)
    admin.config_set("maxmemory", 0)


class Taker:
    """Takes messages as a worker does, and keeps them in its hands."""

    def __init__(self, server: EmbeddedServer) -> None:
        self.connection: Connection = Celery(broker=server.url).connection_for_read()
        self.messages: list[Any] = []
        self.consumer = Consumer(self.connection, [QUEUE], on_message=self.messages.append)
        self.consumer.consume()

    def send(self, *bodies: str) -> None:
        with self.connection.clone() as connection:
            for body in bodies:
                connection.Producer(serializer="json").publish(
                    body, routing_key="taken", declare=[QUEUE]
                )

    def take(self, number: int) -> list[str]:
        """Wait until it has had so many messages in all."""
        for _ in range(30):
            if len(self.messages) >= number:
                break
            with contextlib.suppress(TimeoutError):
                self.connection.drain_events(timeout=1)
        return [message.payload for message in self.messages]


@pytest.fixture
def taker(server: EmbeddedServer) -> Iterator[Taker]:
    taker = Taker(server)
    yield taker
    taker.connection.close()


@pytest.mark.slow
@pytest.mark.edges
def test_a_worker_goes_on_while_the_broker_is_full(
    tmp_path: Path, admin: redis.Redis, server: EmbeddedServer, full: Any
) -> None:
    site = Site(tmp_path, server.port, tasks=["tests.tasks.site.quiet"])
    site.produce(
        "from tests.tasks.site.quiet import rest\nfor number in range(16): rest.delay(0.2)"
    )
    # It has four of them in hand, and takes the others one by one.
    with site.worker("-c", "1", "--prefetch-multiplier", "4") as worker:
        full(True)
        wait_until(lambda: len(runs.counts(site.runs)) == 16)
        full(False)
        assert worker.stop() == 0
    assert noted(admin) == 0


def noted(admin: redis.Redis) -> int:
    assert admin.hlen("unacked") == admin.zcard("unacked_index")
    return int(admin.hlen("unacked"))  # type: ignore[arg-type]


def test_a_server_without_memory_takes_no_message_away(
    taker: Taker, admin: redis.Redis, full: Any
) -> None:
    taker.send("a", "b")
    full(True)
    assert taker.take(2) == ["a", "b"]
    assert noted(admin) == 0
    taker.messages[0].ack()
    full(False)
    # With the next, what is still in hand is noted; what is done is not.
    taker.send("c")
    assert taker.take(3) == ["a", "b", "c"]
    assert noted(admin) == 2
    for message in taker.messages[1:]:
        message.ack()
    assert noted(admin) == 0


@pytest.mark.parametrize("first", ["done", "noted"])
def test_what_is_in_hand_may_be_done_with_while_it_is_noted(
    taker: Taker, admin: redis.Redis, full: Any, monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    taker.send("a")
    full(True)
    assert taker.take(1) == ["a"]
    full(False)
    (older,) = taker.messages
    append = Acks.append

    def note(qos: Any, message: Any, tag: str) -> None:
        is_older = tag == older.delivery_tag
        if is_older and first == "done":
            older.ack()  # as a thread of the worker's pool does
        append(qos, message, tag)
        if is_older and first == "noted":
            older.ack()

    monkeypatch.setattr(Acks, "append", note)
    taker.send("b")
    assert taker.take(2) == ["a", "b"]
    assert older.acknowledged
    assert noted(admin) == 1


def test_what_is_in_hand_returns_to_its_queue_when_the_worker_stops(
    taker: Taker, admin: redis.Redis, full: Any
) -> None:
    taker.send("a", "b")
    full(True)
    taker.take(2)
    full(False)
    taker.messages[0].ack()
    taker.connection.close()
    assert admin.llen("taken") == 1
    other = Taker.__new__(Taker)
    other.connection, other.messages = taker.connection.clone(), []
    with Consumer(other.connection, [QUEUE], on_message=other.messages.append):
        assert other.take(1) == ["b"]
        assert other.messages[0].headers["redelivered"]
        other.messages[0].ack()
    other.connection.close()


@pytest.mark.parametrize("requeue", [True, False])
def test_what_is_in_hand_can_be_rejected(
    taker: Taker, admin: redis.Redis, full: Any, requeue: bool
) -> None:
    taker.send("a")
    full(True)
    taker.take(1)
    full(False)
    taker.messages[0].reject(requeue=requeue)
    assert admin.llen("taken") == requeue
    taker.connection.close()
    assert admin.llen("taken") == requeue


def test_a_connection_that_breaks_in_between_takes_no_message_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def cut(qos: Noting, message: Any, tag: str) -> None:
        client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        append(qos, message, tag)

    append = Noting.append
    # Kombu keeps connections for the process: another test would find those of its server broken.
    with EmbeddedServer() as own, connect(own) as client:
        taker = Taker(own)
        taker.send("a")
        monkeypatch.setattr(Noting, "append", cut)
        assert taker.take(1) == ["a"]
        taker.messages[0].ack()
        assert noted(client) == 0
        taker.connection.close()


@pytest.mark.parametrize("end", ["close", "requeue"])
def test_what_was_noted_though_the_reply_was_lost_returns_to_its_queue_once(
    taker: Taker, admin: redis.Redis, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    run = Acks._run

    def lose_the_reply(qos: Acks, *args: Any) -> bool:
        run(qos, *args)
        raise redis.TimeoutError

    taker.send("a")
    with monkeypatch.context() as patch:
        patch.setattr(Acks, "_run", lose_the_reply)
        assert taker.take(1) == ["a"]
    assert noted(admin) == 1
    if end == "close":
        taker.connection.close()
    else:
        taker.messages[0].requeue()
    assert admin.llen("taken") == 1
    assert noted(admin) == 0


@pytest.fixture
def own() -> Iterator[EmbeddedServer]:
    """Run a server for the test alone."""
    with EmbeddedServer(persistent=True) as server:
        yield server


@pytest.fixture
def taken_from_the_dead(own: EmbeddedServer, monkeypatch: pytest.MonkeyPatch) -> Taker:
    """Return one who has a message in hand, whose server died before it could be noted."""

    def die(qos: Noting, message: Any, tag: str) -> None:
        own.kill()
        append(qos, message, tag)

    append = Noting.append
    taker = Taker(own)
    taker.send("a")
    with monkeypatch.context() as patch:
        patch.setattr(Noting, "append", die)
        assert taker.take(1) == ["a"]
    return taker


def test_what_is_in_hand_when_the_server_dies_is_put_back_when_it_lives_again(
    own: EmbeddedServer, taken_from_the_dead: Taker
) -> None:
    taken_from_the_dead.connection.close()
    own.restart()
    again = Taker(own)
    assert again.take(1) == ["a"]
    again.messages[0].ack()
    again.connection.close()


def test_it_is_not_put_back_at_another_broker(
    own: EmbeddedServer, taken_from_the_dead: Taker, taker: Taker, admin: redis.Redis
) -> None:
    taken_from_the_dead.connection.close()
    taker.send("b")
    assert taker.take(1) == ["b"]
    taker.connection.close()  # which puts back what is in hand
    assert admin.llen("taken") == 1
    own.restart()
    again = Taker(own)
    assert again.take(1) == ["a"]
    again.messages[0].ack()
    again.connection.close()


def test_a_connection_that_celery_let_go_of_does_not_end_the_worker(
    own: EmbeddedServer, taken_from_the_dead: Taker
) -> None:
    # As the consumer does when it has lost its connection: kombu asks what is not there any more.
    taken_from_the_dead.connection.default_channel.connection.client = None
    taken_from_the_dead.connection.default_channel.qos.restore_unacked_once()
    taken_from_the_dead.messages[0].ack()
    own.restart()
    again = Taker(own)
    assert again.take(1) == ["a"]
    again.messages[0].ack()
    again.connection.close()


@pytest.mark.parametrize("comes_again", [True, False])
@pytest.mark.parametrize("closes", ["first", "later"])
def test_what_is_rejected_on_such_a_connection_does_not_end_the_worker(
    own: EmbeddedServer, taken_from_the_dead: Taker, closes: str, comes_again: bool
) -> None:
    channel = taken_from_the_dead.connection.default_channel
    channel._disconnect_pools()
    channel.connection.client = None
    if closes == "first":
        channel.close()
    taken_from_the_dead.messages[0].reject(requeue=comes_again)
    if closes == "later":
        channel.close()
    own.restart()
    again = Taker(own)
    again.send("b")
    # What had been put aside as the channel closed comes again in any case, as with ack().
    expected = ["a", "b"] if comes_again or closes == "first" else ["b"]
    assert sorted(again.take(len(expected))) == expected
    for message in again.messages:
        message.ack()
    again.connection.close()


def test_what_cannot_be_put_back_is_told_when_the_process_ends(
    taken_from_the_dead: Taker, caplog: pytest.LogCaptureFixture
) -> None:
    taken_from_the_dead.connection.close()
    noting._tell_lost()
    (told,) = [r for r in caplog.records if r.levelname == "CRITICAL"]
    assert "may be lost" in told.message
    assert "took it from a queue" in told.message


def test_nothing_is_told_twice_while_the_server_is_full(
    taker: Taker, full: Any, caplog: pytest.LogCaptureFixture
) -> None:
    taker.send("a", "b", "c")
    full(True)
    wait_until(lambda: taker.take(3))
    told = [r for r in caplog.records if "does not note" in r.message]
    assert len(told) == 1
    assert "OutOfMemoryError" in told[0].message
