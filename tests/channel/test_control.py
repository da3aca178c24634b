"""What is published on the control channel, and answers from the channel's own thread."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from redis.connection import ConnectionPool

from redis_optimizer.channel import Channel
from redis_optimizer.embedded import HOST, EmbeddedServer
from redis_optimizer.subscriber import Line
from tests.cache.caches import counted
from tests.servers import connect, wait_until

from .listeners import Listener

ANSWERS = "redis_optimizer:tests:answers"


class Desk:
    """Notes what comes, and answers with the same."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self.looks = 0
        self.fails = False
        self.wait = 3600.0

        self.key = "t:key"
        self.found: list[bytes | None] = []
        self.replaced: tuple[bool, bool] | None = None
        self.flushes = 0

    def on_connect(self, line: Line) -> None:
        self.found.append(found := line.read(self.key))
        if found is not None:
            others = line.replace(self.key, b"others", b"")
            self.replaced = others, line.replace(self.key, found, found + b" replaced")

    def on_flushed(self, line: Line) -> None:
        self.flushes += 1
        line.add(self.key, b"again")

    def on_message(self, data: bytes, line: Line) -> None:
        self.heard.append(data)
        if self.fails:
            raise RuntimeError
        line.publish(ANSWERS, b"answer to " + data)

    def look(self) -> float:
        self.looks += 1
        return self.wait


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
def open_desk(desk: Desk) -> Iterator[Callable[..., tuple[Channel, Listener]]]:
    made: list[Channel] = []

    def make(client: redis.Redis, **options: float) -> tuple[Channel, Listener]:
        pool: ConnectionPool = client.connection_pool
        channel = Channel(pool, "tests", control=desk)
        made.append(channel)
        listener = Listener(client, **options)
        channel.subscribe(listener)
        listener.wait("up")
        return channel, listener

    yield make
    for channel in made:
        channel.stop()


def replies(admin: redis.Redis) -> redis.client.PubSub:
    pubsub = admin.pubsub(ignore_subscribe_messages=True)
    pubsub.subscribe(ANSWERS)
    wait_until(lambda: admin.pubsub_numsub(ANSWERS)[0][1] == 1)
    return pubsub


def next_reply(pubsub: redis.client.PubSub) -> Any:
    message = wait_until(lambda: pubsub.get_message(timeout=0.1))
    return message["data"]


def test_a_message_is_answered_by_one_command(
    data: redis.Redis, admin: redis.Redis, desk: Desk, open_desk: Callable[..., Any]
) -> None:
    open_desk(data)
    with replies(admin) as pubsub, counted(admin) as calls:
        admin.publish("redis_optimizer:tests", "hello")
        assert next_reply(pubsub) == "answer to hello"
    calls.pop("unsubscribe", None)
    assert calls == {"publish": 2}


def test_it_goes_on_hearing_of_writes(
    data: redis.Redis, admin: redis.Redis, desk: Desk, open_desk: Callable[..., Any]
) -> None:
    channel, listener = open_desk(data)
    with replies(admin) as pubsub:
        for number in range(20):
            admin.publish("redis_optimizer:tests", str(number))
            admin.set(f"t:{number}", 1)
            channel.ping()
        assert [next_reply(pubsub) for _ in range(20)][-1] == "answer to 19"
    listener.wait_heard(*(f"t:{number}" for number in range(20)))
    listener.wait("alive")
    assert channel.connects == 1


@pytest.fixture(params=[3, 2])
def protocol(request: pytest.FixtureRequest) -> int:
    version: int = request.param
    return version


@pytest.fixture
def own(protocol: int) -> Iterator[EmbeddedServer]:
    """Run a server that speaks this version of the protocol at most."""
    arguments = ["--rename-command", "HELLO", ""] if protocol == 2 else []
    with EmbeddedServer(args=arguments) as own:
        yield own


def test_it_answers_in_both_versions_of_the_protocol(
    own: EmbeddedServer, protocol: int, open_desk: Callable[..., Any]
) -> None:
    with redis.Redis(HOST, own.port, protocol=2) as client:
        channel, _ = open_desk(client)
        assert channel.protocol == protocol
        with replies(client) as pubsub:
            client.publish("redis_optimizer:tests", "hello")
            assert next_reply(pubsub) == b"answer to hello"
        channel.stop()


def test_an_answer_that_the_server_refuses_does_no_harm(
    own: EmbeddedServer, desk: Desk, protocol: int, open_desk: Callable[..., Any]
) -> None:
    with redis.Redis(HOST, own.port, protocol=2) as admin:
        admin.execute_command(
            "ACL", "SETUSER", "mute", "on", ">any", "~*", "&*", "+@all", "-publish"
        )
        with redis.Redis(HOST, own.port, username="mute", password="any", protocol=2) as client:
            channel, listener = open_desk(client)
            assert channel.protocol == protocol
            for number in range(3):
                admin.publish("redis_optimizer:tests", str(number))
            wait_until(lambda: len(desk.heard) == 3)
            # It sends nothing while an answer is being sent; the next reader asks again.
            wait_until(lambda: channel.ping() or listener.count("alive"))
            admin.set("t:1", 1)
            listener.wait_heard("t:1")
            assert channel.connects == 1
            channel.stop()


def test_a_handler_that_fails_has_all_trust_nothing(
    data: redis.Redis, admin: redis.Redis, desk: Desk, open_desk: Callable[..., Any]
) -> None:
    _, listener = open_desk(data)
    desk.fails = True
    admin.publish("redis_optimizer:tests", "hello")
    listener.wait("up", 2)
    assert [name for name, _ in listener.events if name != "invalidated"] == ["up", "down", "up"]


def test_it_is_called_again_when_it_wants_to_be_and_nothing_is_sent(
    data: redis.Redis, admin: redis.Redis, desk: Desk, open_desk: Callable[..., Any]
) -> None:
    desk.wait = 0.01
    open_desk(data)
    with counted(admin) as calls:
        seen = desk.looks
        wait_until(lambda: desk.looks > seen + 10)
    assert calls == {}


def test_a_ping_does_not_wait_for_an_answer_that_is_on_its_way(
    open_desk: Callable[..., Any],
) -> None:
    with EmbeddedServer() as own, redis.Redis(HOST, own.port) as client, connect(own) as other:
        channel, listener = open_desk(client)
        other.config_resetstat()
        with channel._sending:
            channel.ping()  # returns at once, and sends nothing
        channel.ping()
        listener.wait("alive")
        assert other.info("commandstats")["cmdstat_ping"]["calls"] == 1
        channel.stop()


def test_what_was_said_earlier_is_read_when_it_connects_and_when_it_does_so_again(
    own: EmbeddedServer, desk: Desk, open_desk: Callable[..., Any]
) -> None:
    with redis.Redis(HOST, own.port, protocol=2) as client:
        channel, listener = open_desk(client)
        assert desk.found == [None]
        client.set(desk.key, "said")
        (client_id,) = [c["id"] for c in client.client_list() if "channel" in c["name"]]
        client.client_kill_filter(_id=client_id)
        listener.wait("up", 2)
        assert desk.found == [None, b"said"]
        assert desk.replaced == (False, True)
        assert client.get(desk.key) == b"said replaced"
        listener.wait("up", 2)
        channel.stop()


def test_what_is_deleted_with_all_else_can_be_written_again(
    own: EmbeddedServer, desk: Desk, open_desk: Callable[..., Any]
) -> None:
    with redis.Redis(HOST, own.port, protocol=2) as client:
        channel, listener = open_desk(client)
        client.flushall()
        wait_until(lambda: client.get(desk.key) == b"again")
        client.set(desk.key, "other")
        client.execute_command("SELECT", 1)
        client.flushdb()
        wait_until(lambda: desk.flushes == 2)
        client.execute_command("SELECT", 0)
        client.set("t:1", 1)
        listener.wait_heard("t:1")
        assert client.get(desk.key) == b"other"
        assert channel.connects == 1
        channel.stop()


def test_any_thread_may_publish_while_the_channel_listens(
    data: redis.Redis, admin: redis.Redis, open_desk: Callable[..., Any]
) -> None:
    channel, listener = open_desk(data)
    with replies(admin) as pubsub:
        threads = [
            threading.Thread(target=lambda: [channel.publish(ANSWERS, b"x") for _ in range(200)])
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for number in range(100):
            admin.set(f"t:{number}", 1)
        for thread in threads:
            thread.join()
        assert [next_reply(pubsub) for _ in range(800)] == ["x"] * 800
    listener.wait_heard(*(f"t:{number}" for number in range(100)))
    wait_until(lambda: channel.ping() or listener.count("alive"))
    assert channel.connects == 1


def test_what_is_published_while_it_is_down_goes_nowhere(
    data: redis.Redis, open_desk: Callable[..., Any]
) -> None:
    channel, _ = open_desk(data)
    channel.stop()
    wait_until(lambda: channel.protocol is None)
    channel.publish(ANSWERS, b"x")  # neither an error nor a connection
    assert channel.protocol is None
